import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { Injectable } from '@nestjs/common';
import { BerthConfig } from '../../../config/config.js';
import { Predecessors } from './predecessors.js';
import { ProcessGuard } from './process-guard.js';
import { journalsIn } from './runner-journal.js';

/** A guard starts one program after the other, and waits for each to be in its place: so many slots keep one busy. */
const SLOTS_OF_A_GUARD = 64;

/** The guards of this runner: one, and more where it has many slots, but not more than can work at the same time. */
@Injectable()
export class Guards {
  private all: readonly ProcessGuard[] = [];
  private turn = 0;

  constructor(
    private readonly config: BerthConfig,
    private readonly predecessors: Predecessors,
  ) {}

  /**
   * Without it nothing is started. Resolves when nothing is left here of runners that died; the guards are not waited for:
   * what they are told meanwhile they read as soon as they are up.
   */
  async start(runnerId: string): Promise<void> {
    const { home, runnerSlots } = this.config;
    const wanted = Math.min(Math.ceil(runnerSlots / SLOTS_OF_A_GUARD), availableParallelism());
    this.all = Array.from({ length: wanted }, (_, index) => {
      return new ProcessGuard(join(journalsIn(home), `${runnerId}${index > 0 ? `.${index + 1}` : ''}.json`));
    });
    await Promise.all(this.all.map((guard) => guard.start()));
    await this.predecessors.endWhatTheyLeft();
  }

  async stop(): Promise<void> {
    await Promise.all(this.all.map((guard) => guard.stop()));
  }

  /** The one whose turn it is to start something. */
  next(): ProcessGuard {
    return this.all[this.turn++ % this.all.length];
  }

  /** Leases have been renewed. @param deadlines by lease. */
  extend(deadlines: ReadonlyMap<string, number>): void {
    for (const guard of this.all) guard.extend(deadlines);
  }
}
