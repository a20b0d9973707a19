import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import type { WaitingReason } from '../runs/heartbeat-run.entity.js';
import { WAITING_STATUSES } from '../claiming/turns.js';
import { blocked, REASONS, type Blocked, type BlockedRow } from './blocked.js';

/** Where a look through all waiting runs has got to. */
export interface LookedThrough {
  readonly agentId: string;
  readonly dueAt: string;
}

const PAGE = 500;
/** Any constant: of all processes one at a time looks. */
const LOCK = 0x7761_6974;
/** What only waits for a runner is left in peace for this long, in seconds: it is about to be claimed. */
const CLAIM_SEC = 2;
const START: LookedThrough = { agentId: '00000000-0000-0000-0000-000000000000', dueAt: '-infinity' };

/** Keeps with each waiting run what it waits for, changed when that changes. */
@Injectable()
export class WaitingReasons {
  constructor(private readonly em: EntityManager) {}

  /**
   * Looks at the next page of waiting runs.
   * @returns where to go on; null at the end.
   */
  async refresh(from: LookedThrough | null): Promise<LookedThrough | null> {
    const { agentId, dueAt } = from ?? START;
    const rows = await this.em.execute<(BlockedRow & { about_to_start: boolean })[]>(
      `select b.*, b.code in ('no_runner', 'no_free_slot')
         and b.due_at > clock_timestamp() - make_interval(secs => ?) as about_to_start
       from (${blocked(`(q.agent_id, q.due_at) > (?::uuid, ?::timestamptz)`)}
         order by q.agent_id, q.due_at limit ?) b
       where (select pg_try_advisory_xact_lock(?))`,
      [CLAIM_SEC, agentId, dueAt, PAGE, LOCK],
    );
    await this.store(rows.filter((row) => hasChanged(row) && !row.about_to_start));
    const last = rows.length === PAGE ? rows[PAGE - 1] : null;
    return last && { agentId: last.agent_id, dueAt: last.due_at };
  }

  /** What these runs wait for now, by id; those that do not wait are missing. */
  async of(runIds: string[]): Promise<Map<string, BlockedRow>> {
    if (runIds.length === 0) return new Map();
    const rows = await this.em.execute<BlockedRow[]>(blocked('q.id = any(?::uuid[])'), [`{${runIds.join(',')}}`]);
    return new Map(rows.map((row) => [row.id, row]));
  }

  /** A run that has started meanwhile, or that somebody is changing, keeps what it has. */
  private async store(rows: BlockedRow[]): Promise<void> {
    if (rows.length === 0) return;
    await this.em.execute(
      `with held as materialized (
         -- One by one, whatever the planner takes for few.
         select h.id, x.reason from jsonb_to_recordset(?::jsonb) as x(id uuid, reason jsonb)
         cross join lateral (
           select id from heartbeat_runs where id = x.id and status = any(?::text[]) for no key update skip locked) h)
       update heartbeat_runs r
       set waiting_reason = held.reason || jsonb_build_object('since', to_jsonb(clock_timestamp()))
       from held where r.id = any(array(select id from held)) and r.id = held.id`,
      [JSON.stringify(rows.map((row) => ({ id: row.id, reason: reasonOf(row) }))), WAITING_STATUSES],
    );
  }
}

/** The sentence for a person, and what it is about. */
export function reasonOf({ code, due_at: dueAt, ...row }: Blocked): WaitingReason {
  const { scope_type: type, scope_id: id, scope_name: name } = row;
  return { code, message: REASONS[code](name ?? dueAt), scope: type && id ? { type, id } : null };
}

/** A claim that failed has left its own words with the run. */
const hasChanged = (row: BlockedRow) =>
  row.code !== 'claim_failed' && (row.code !== row.stored_code || row.scope_id !== row.stored_scope_id);
