import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { idFromCursor, MAX_PAGE, Page, type PageRequest } from '../../database/page.js';
import { isFresh } from '../claiming/turns.js';
import type { WaitingReason } from '../runs/heartbeat-run.entity.js';
import { Blockers, type ExplainedReason } from './blockers.js';
import { WaitingReasons } from './waiting-reasons.js';

export const QUEUE_KINDS = ['run', 'reservation', 'wake'] as const;
/** A run that waits to start, a caller who waits for a reservation, or a wake that waits for its issue. */
export type QueueKind = (typeof QUEUE_KINDS)[number];

/** Which part of the queue a list shows. */
export interface QueueFilter extends PageRequest {
  readonly kind?: QueueKind;
  readonly companyId?: string;
  readonly agentId?: string;
  readonly environmentId?: string;
}

/** Somebody who waits, and for what. */
export interface QueueEntry {
  kind: QueueKind;
  id: string;
  companyId: string;
  agentId: string | null;
  issueId: string | null;
  environmentId: string | null;
  holder: string | null;
  status: string;
  /** From when it could have had its turn. */
  dueAt: string;
  /** Since then, in seconds. */
  waitedSec: number;
  waitingReason: WaitingReason | ExplainedReason | null;
}

/** Each selects: kind, id, company, agent, issue, environment, holder, status, due, stored reason. */
const KINDS: Record<QueueKind, string> = {
  run: `select 'run', id, company_id, agent_id, issue_id, null::uuid, null, status, due_at,
      waiting_reason from heartbeat_runs where status in ('queued', 'scheduled_retry')`,
  reservation: `select 'reservation', id, company_id, null::uuid, null::uuid, environment_id, holder, 'waiting', created_at,
      waiting_reason from lease_requests where ${isFresh('lease_requests')}`,
  wake: `select 'wake', w.id, w.company_id, w.agent_id, w.issue_id, null::uuid, null, w.status, w.created_at,
      jsonb_build_object('code', 'issue_busy', 'message', 'It waits until the issue is free: run '
        || coalesce(live_run_of_issue(w.issue_id)::text, 'none') || ' is live on it',
        'scope', jsonb_build_object('type', 'issue', 'id', w.issue_id))
    from agent_wakeup_requests w where w.deferred_issue_id is not null`,
};

interface QueueRow {
  kind: QueueKind;
  id: string;
  company_id: string;
  agent_id: string | null;
  issue_id: string | null;
  environment_id: string | null;
  holder: string | null;
  status: string;
  due_at: string;
  waited: number;
  waiting_reason: WaitingReason | null;
}

/** Everything that waits, over all companies. */
@Injectable()
export class QueueService {
  constructor(
    private readonly em: EntityManager,
    private readonly reasons: WaitingReasons,
    private readonly blockers: Blockers,
  ) {}

  /** The longest waiting first. An environment's queue is what is known to go there. */
  async list({
    kind,
    companyId,
    agentId,
    environmentId,
    limit = MAX_PAGE,
    cursor,
  }: QueueFilter): Promise<Page<QueueEntry>> {
    const kinds = kind ? [KINDS[kind]] : Object.values(KINDS);
    const rows = await this.em.execute<QueueRow[]>(
      `select q.*, greatest(extract(epoch from clock_timestamp() - q.due_at), 0)::integer as waited
       from (${kinds.join(' union all ')}) q (kind, id, company_id, agent_id, issue_id, environment_id, holder, status, due_at,
         waiting_reason)
       where (?::uuid is null or q.id > ?::uuid) and (?::uuid is null or q.company_id = ?::uuid)
         and (?::uuid is null or q.agent_id = ?::uuid)
         and (?::uuid is null or q.environment_id = ?::uuid or q.waiting_reason #>> '{scope,id}' = ?::text)
       order by q.id limit ?`,
      [
        ...twice(idFromCursor(cursor)),
        ...twice(companyId),
        ...twice(agentId),
        ...twice(environmentId),
        environmentId ?? null,
        limit + 1,
      ],
    );
    const blocked = await this.reasons.of(rows.filter((row) => row.kind === 'run').map(({ id }) => id));
    const explained = await this.blockers.explain([...blocked.values()]);
    return Page.of(rows, limit, ({ id }) => id).map((row) => ({
      kind: row.kind,
      id: row.id,
      companyId: row.company_id,
      agentId: row.agent_id,
      issueId: row.issue_id,
      environmentId: row.environment_id ?? blocked.get(row.id)?.environment_id ?? null,
      holder: row.holder,
      status: row.status,
      dueAt: new Date(row.due_at).toISOString(),
      waitedSec: row.waited,
      waitingReason: explained.get(row.id) ?? row.waiting_reason,
    }));
  }
}

const twice = (value: string | null | undefined) => [value ?? null, value ?? null];
