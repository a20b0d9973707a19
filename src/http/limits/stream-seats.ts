import type { FastifyRequest } from 'fastify';
import type { BerthConfig } from '../../config/config.js';
import { credentialOf } from './caller.js';
import { TooManyStreamsError } from './limit-errors.js';

/** The streams that are open in this process: each holds a connection, memory and a look at the database now and then. */
export class StreamSeats {
  private readonly taken = new Map<string, number>();
  private total = 0;

  constructor(private readonly limits: Pick<BerthConfig, 'streams' | 'streamsPerCaller'>) {}

  /**
   * Takes one for the current caller: by its credential, or by its address where it needs none.
   * @returns what gives it back.
   * @throws TooManyStreamsError
   */
  take({ ip }: FastifyRequest): () => void {
    const { streams, streamsPerCaller } = this.limits;
    const caller = credentialOf() ?? ip;
    const own = this.taken.get(caller) ?? 0;
    if (own >= streamsPerCaller) throw new TooManyStreamsError('this caller', streamsPerCaller);
    if (this.total >= streams) throw new TooManyStreamsError('this server', streams);
    this.taken.set(caller, own + 1);
    this.total += 1;
    return () => this.giveBack(caller);
  }

  private giveBack(caller: string): void {
    const own = this.taken.get(caller)! - 1;
    if (own === 0) this.taken.delete(caller);
    else this.taken.set(caller, own);
    this.total -= 1;
  }
}
