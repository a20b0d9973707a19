import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { DomainEvents } from '../../events/domain-events.js';
import type { CancelCode } from '../runs/heartbeat-run.entity.js';
import { HeartbeatCancelRequested } from '../runs/heartbeat.events.js';

/** What somebody wishes of running runs: that they end, as what, and how long they may still go on. */
export interface CancelWish {
  readonly code: CancelCode;
  readonly reason: string;
  /** In which a run may still end by itself, in seconds. */
  readonly graceSec: number;
}

interface WishedRow {
  id: string;
  company_id: string;
  agent_id: string;
  cancel_at: string;
}

/**
 * Notes with running runs that they are to end. The only writer of cancel wishes; whoever ends a run once its wish has
 * taken effect writes `cancelled` with the wish's code (`TerminalTransitions`), and its runner stops it then.
 */
@Injectable()
export class CancelWishes {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
  ) {}

  /**
   * Wishes that those of the runs end that are running, in the caller's transaction, which holds them. Of several
   * wishes the one that acts first stands: none is ever put off.
   * @returns the ids of the runs for which this wish stands.
   */
  async wish(runIds: string[], { code, reason, graceSec }: CancelWish): Promise<Set<string>> {
    if (runIds.length === 0) return new Set();
    const rows = await this.em.execute<WishedRow[]>(
      `with clock as materialized (
         -- What the column would round up would not have taken effect yet.
         select date_trunc('milliseconds', clock_timestamp()) as at)
       update heartbeat_runs r
       set cancel_requested_at = clock.at, cancel_at = clock.at + make_interval(secs => ?), cancel_code = ?,
         cancel_reason = ?, updated_at = now()
       from clock
       where r.id = any(?::uuid[]) and r.status = 'running'
         and (r.cancel_at is null or r.cancel_at > clock.at + make_interval(secs => ?))
       returning r.id, r.company_id, r.agent_id, r.cancel_at`,
      [graceSec, code, reason, `{${runIds.join(',')}}`, graceSec],
    );
    await this.events.record(
      rows.map(({ id, company_id: companyId, agent_id: agentId, cancel_at: cancelAt }) => {
        const facts = { code, reason, cancelAt: new Date(cancelAt).toISOString() };
        return new HeartbeatCancelRequested({ id, companyId, agentId }, facts);
      }),
    );
    return new Set(rows.map(({ id }) => id));
  }
}
