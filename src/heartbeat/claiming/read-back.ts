import { setTimeout as delay } from 'node:timers/promises';
import { Injectable, Logger } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { isConnectionLost } from '../../database/database-errors.js';
import { inTransaction } from '../../database/transaction.js';
import { bootClock } from '../../environments/drivers/guard/boot-clock.js';
import type { ClaimedRun } from '../runs/claimed-run.js';

/** How long to wait before the database is asked again, in milliseconds. */
const PAUSE_MS = 200;

/** Finds out what became of a transaction whose commit was not answered. */
@Injectable()
export class ReadBack {
  private readonly logger = new Logger(ReadBack.name);

  constructor(private readonly em: EntityManager) {}

  /**
   * @param sent the runs whose claim may have been committed.
   * @returns those that are ours. Asks until the database answers or their leases have run out, which leaves them to
   *   the reaper.
   * @throws the error itself when nothing had been sent.
   */
  async claimed(sent: ClaimedRun[], error: unknown): Promise<ClaimedRun[]> {
    if (sent.length === 0) throw error;
    const deadline = Math.min(...sent.map((run) => run.deadline));
    const states = await this.untilAnswered(sent, deadline);
    const own = sent.filter((run) => states?.get(run.id) === 'running');
    this.logger.warn({ sent: sent.length, own: own.length }, 'The answer to a claim was lost and has been read back');
    return own;
  }

  /** @returns whether the run's end, sent under this lease, has been committed; null while it is still running. */
  async ended(run: ClaimedRun): Promise<boolean | null> {
    const states = await this.states([run]);
    const state = states.get(run.id);
    if (state === 'running') return null;
    return state === 'ended by its holder';
  }

  private async untilAnswered(runs: ClaimedRun[], deadline: number): Promise<Map<string, string> | null> {
    while (bootClock() < deadline) {
      try {
        return await this.states(runs);
      } catch (error) {
        if (!isConnectionLost(error)) throw error;
        await delay(PAUSE_MS);
      }
    }
    return null;
  }

  /**
   * Waits for the run rows, by id alone: a transaction that is still in doubt holds them, and what it changes cannot be
   * asked for before it is over. Only the statement after that sees how it ended. Runs that do not carry our lease are
   * absent.
   */
  private states(runs: ClaimedRun[]): Promise<Map<string, string>> {
    const runIds = `{${runs.map(({ id }) => id).join(',')}}`;
    const leaseIds = `{${runs.map(({ lease }) => lease.id).join(',')}}`;
    return inTransaction(this.em, async () => {
      await this.em.execute(`select id from heartbeat_runs where id = any(?::uuid[]) order by id for no key update`, [
        runIds,
      ]);
      const rows = await this.em.execute<{ id: string; state: string }[]>(
        `select r.id, case when r.status = 'running' then 'running' when l.status = 'expired' then 'expired'
           else 'ended by its holder' end as state
         from heartbeat_runs r join environment_leases l on l.id = r.lease_id
         where r.id = any(?::uuid[]) and l.id = any(?::uuid[])`,
        [runIds, leaseIds],
      );
      return new Map(rows.map(({ id, state }) => [id, state]));
    });
  }
}
