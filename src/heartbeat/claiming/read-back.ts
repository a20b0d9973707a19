import { setTimeout as delay } from 'node:timers/promises';
import { Injectable, Logger } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { isConnectionLost } from '../../database/database-errors.js';
import { inTransaction } from '../../database/transaction.js';
import { bootClock } from '../../environments/drivers/guard/boot-clock.js';
import { acquiredLease, type AcquiredLease, type AcquiredRow } from '../../leases/acquire-leases.js';
import type { ClaimedRun } from '../runs/claimed-run.js';

/** How long to wait before the database is asked again, in milliseconds. */
const PAUSE_MS = 200;

/** A run and the lease under which it was to be started. */
interface Sent {
  readonly run: { readonly id: string };
  readonly leaseId: string;
}

interface State extends AcquiredRow {
  state: 'running' | 'expired' | 'ended by its holder';
}

/** Finds out what became of a transaction whose commit was not answered. */
@Injectable()
export class ReadBack {
  private readonly logger = new Logger(ReadBack.name);

  constructor(private readonly em: EntityManager) {}

  /**
   * @param sent the runs whose claim may have been committed.
   * @param deadline until when the leases can be used at most, in milliseconds of the boot clock.
   * @returns the leases of those that are ours, by id. Asks until the database answers or the leases have run out, which
   *   leaves the runs to the reaper.
   * @throws the error itself when nothing had been sent, or the database did answer.
   */
  async claimed(sent: readonly Sent[], deadline: number, error: unknown): Promise<Map<string, AcquiredLease>> {
    if (sent.length === 0 || !isConnectionLost(error)) throw error;
    const states = await this.untilAnswered(sent, deadline);
    const own = states.filter(({ state }) => state === 'running');
    this.logger.warn({ sent: sent.length, own: own.length }, 'The answer to a claim was lost and has been read back');
    return new Map(own.map((row) => [row.id, acquiredLease(row)]));
  }

  /** @returns whether the run's end, sent under this lease, has been committed; null while it is still running. */
  async ended(run: ClaimedRun): Promise<boolean | null> {
    const [found] = await this.states([{ run, leaseId: run.lease.id }]);
    if (found?.state === 'running') return null;
    return found?.state === 'ended by its holder';
  }

  private async untilAnswered(sent: readonly Sent[], deadline: number): Promise<State[]> {
    while (bootClock() < deadline) {
      try {
        return await this.states(sent);
      } catch (error) {
        if (!isConnectionLost(error)) throw error;
        await delay(PAUSE_MS);
      }
    }
    return [];
  }

  /**
   * Waits for the run rows, by id alone: a transaction that is still in doubt holds them, and what it changes cannot be
   * asked for before it is over. Only the statement after that sees how it ended. Runs that do not carry our lease are
   * absent.
   */
  private states(sent: readonly Sent[]): Promise<State[]> {
    const runIds = `{${sent.map(({ run }) => run.id).join(',')}}`;
    const leaseIds = `{${sent.map(({ leaseId }) => leaseId).join(',')}}`;
    return inTransaction(this.em, async () => {
      await this.em.execute(`select id from heartbeat_runs where id = any(?::uuid[]) order by id for no key update`, [
        runIds,
      ]);
      return this.em.execute<State[]>(
        `select l.id, l.fencing_token, l.acquired_at, l.expires_at,
           case when r.status = 'running' then 'running' when l.status = 'expired' then 'expired'
             else 'ended by its holder' end as state
         from heartbeat_runs r join environment_leases l on l.id = r.lease_id
         where r.id = any(?::uuid[]) and l.id = any(?::uuid[])`,
        [runIds, leaseIds],
      );
    });
  }
}
