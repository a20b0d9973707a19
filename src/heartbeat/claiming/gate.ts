import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import type { ContextSnapshot, DecidedBy } from '../runs/heartbeat-run.entity.js';

/** A run that was free to start when it was looked at, before any lock. */
export interface Candidate {
  readonly id: string;
  readonly agentId: string;
  readonly companyId: string;
  readonly companyCapped: boolean;
  /** The issue on which a due retry would become live; a queued run is live there already. */
  readonly retryIssueId: string | null;
}

interface CandidateRow {
  id: string;
  agent_id: string;
  company_id: string;
  capped: boolean;
  issue: string | null;
}

/** A run that is held for starting, with everything that decides whether and where it may. */
export interface GatedRun {
  id: string;
  company_id: string;
  agent_id: string;
  issue_id: string | null;
  status: 'queued' | 'scheduled_retry';
  issue_closed: boolean;
  is_assignee: boolean;
  issue_busy: boolean;
  wakeup_request_id: string | null;
  context_snapshot: ContextSnapshot;
  agent_status: string;
  agent_deleted: boolean;
  agent_cap: number;
  agent_running: number;
  adapter_type: string;
  adapter_config: Record<string, unknown>;
  company_status: string;
  company_cap: number | null;
  company_running: number;
  environment_id: string | null;
  decided_by: DecidedBy;
  workspace_id: string | null;
  workspace_name: string | null;
  workspace_status: 'active' | 'archived' | null;
  workspace_mode: 'shared' | 'exclusive' | null;
  workspace_cwd: string | null;
  workspace_environment_id: string | null;
  workspace_occupied: boolean;
}

/** Statuses in which a run waits to be started. */
const WAITING = `('queued', 'scheduled_retry')`;

/** The first set reference decides where a run goes; null stands for `Local`. Of issue i, workspace w, agent a, company c. */
const CHOSEN = `coalesce(i.environment_id, w.environment_id, a.default_environment_id, c.default_environment_id)`;

/** Whose reference that is: a `DecidedBy`. */
export const DECIDED_BY = `case when i.environment_id is not null then 'issue'
  when w.environment_id is not null then 'workspace' when a.default_environment_id is not null then 'agent'
  when c.default_environment_id is not null then 'company' else 'default' end`;

/** The same place, with `Local` by its id; null while that has not been made. */
export const DESTINATION = `coalesce(${CHOSEN}, (select local.id from environments local
  where local.company_id = c.id and local.driver = 'local' and local.deleted_at is null))`;

/** Whether issue, place and workspace of a waiting run q can be had now; each is decided again when it is held. */
const OPEN = `not exists (select 1 from heartbeat_runs o
    where o.issue_id = q.issue_id and o.status in ('queued', 'running') and o.id <> q.id)
  and not exists (select 1 from environments e
    where e.id = ${DESTINATION} and e.status = 'draining' and e.deleted_at is null)
  and not exists (select 1 from environment_leases l
    where l.execution_workspace_id = w.id and l.status = 'active' and l.workspace_mode = 'exclusive')`;

/** The one gate that every start passes: asked twice, first to find runs, then to decide under locks. */
@Injectable()
export class Gate {
  constructor(private readonly em: EntityManager) {}

  /**
   * Runs that may start as far as can be seen without locks, agents taking turns: first whoever started one longest ago.
   * What cannot start now is not among them, so that it takes nobody's turn; what can never start is, so that somebody
   * fails it. Agents with waiting runs are found by skipping along an index.
   */
  async candidates(limit: number): Promise<Candidate[]> {
    const rows = await this.em.execute<CandidateRow[]>(
      `with recursive waiting as (
         (select agent_id from heartbeat_runs where status in ${WAITING} order by agent_id limit 1)
         union all
         select (select r.agent_id from heartbeat_runs r where r.status in ${WAITING} and r.agent_id > w.agent_id
                 order by r.agent_id limit 1)
         from waiting w where w.agent_id is not null),
       free as (
         select r.*, owner.gone, owner.company_free, a.last_heartbeat_at,
           row_number() over (partition by r.company_id
             order by r.turn, a.last_heartbeat_at nulls first, r.due_at) as company_turn
         from waiting
         join agents a on a.id = waiting.agent_id
         join companies c on c.id = a.company_id
         cross join lateral (
           select a.status = 'terminated' or c.status = 'archived' as gone,
             greatest(a.max_concurrent_runs - (select count(*) from heartbeat_runs b
               where b.agent_id = a.id and b.status = 'running'), 0) as agent_free,
             case when c.max_concurrent_runs is not null then c.max_concurrent_runs - (select count(*)
               from heartbeat_runs b where b.company_id = c.id and b.status = 'running') end as company_free) owner
         cross join lateral (
           select q.id, q.agent_id, q.company_id, q.due_at, case when q.status = 'scheduled_retry' then q.issue_id end as issue,
             row_number() over (order by q.due_at, q.id) as turn
           from heartbeat_runs q
           left join issues i on i.id = q.issue_id
           left join execution_workspaces w on w.id = i.execution_workspace_id
           where q.agent_id = a.id and q.status in ${WAITING} and q.due_at <= clock_timestamp()
             and (owner.gone or ${OPEN})
           order by q.due_at, q.id limit least(case when not owner.gone then owner.agent_free end, ?)) r
         where owner.gone or a.status not in ('paused', 'pending_approval'))
       select id, agent_id, company_id, company_free is not null as capped, issue from free
       where gone or company_free is null or company_turn <= company_free
       order by turn, last_heartbeat_at nulls first, due_at limit ?`,
      [limit, limit],
    );
    return rows.map((row) => ({
      id: row.id,
      agentId: row.agent_id,
      companyId: row.company_id,
      companyCapped: row.capped,
      retryIssueId: row.issue,
    }));
  }

  /**
   * Locks what decides about the candidates, in lock order, and looks again. What others hold is left to them.
   * @returns the candidates that are still waiting, in their order, now held by this transaction.
   */
  async enter(candidates: Candidate[]): Promise<GatedRun[]> {
    const capped = unique(candidates.filter((one) => one.companyCapped).map((one) => one.companyId));
    const companies = capped.length > 0 ? await this.lock('companies', capped) : [];
    const open = candidates.filter((one) => !one.companyCapped || companies.includes(one.companyId));
    const agents = await this.lock('agents', unique(open.map((one) => one.agentId)));
    const retried = unique(open.flatMap((one) => one.retryIssueId ?? []));
    const issues = retried.length > 0 ? await this.lock('issues', retried) : [];
    const isHeld = (one: Candidate) =>
      agents.includes(one.agentId) && (one.retryIssueId === null || issues.includes(one.retryIssueId));
    const ids = open.filter(isHeld).map((one) => one.id);
    if (ids.length === 0) return [];
    // A statement of its own: only a snapshot taken after the locks sees what their last holders did.
    const rows = await this.em.execute<GatedRun[]>(
      `select r.id, r.company_id, r.agent_id, r.issue_id, r.status, r.wakeup_request_id, r.context_snapshot,
         i.deleted_at is not null or i.status in ('done', 'cancelled') as issue_closed,
         i.assignee_agent_id = r.agent_id as is_assignee,
         exists (select 1 from heartbeat_runs o where o.issue_id = r.issue_id and o.status in ('queued', 'running')
           and o.id <> r.id) as issue_busy,
         a.status as agent_status, a.deleted_at is not null as agent_deleted, a.max_concurrent_runs as agent_cap,
         (select count(*)::integer from heartbeat_runs b where b.agent_id = a.id and b.status = 'running') as agent_running,
         a.adapter_type, a.adapter_config, c.status as company_status, c.max_concurrent_runs as company_cap,
         case when c.max_concurrent_runs is null then 0 else (select count(*)::integer from heartbeat_runs b
           where b.company_id = c.id and b.status = 'running') end as company_running,
         ${CHOSEN} as environment_id, ${DECIDED_BY} as decided_by,
         w.id as workspace_id, w.name as workspace_name, w.status as workspace_status, w.mode as workspace_mode,
         w.cwd as workspace_cwd, w.environment_id as workspace_environment_id,
         exists (select 1 from environment_leases l where l.execution_workspace_id = w.id and l.status = 'active'
           and l.workspace_mode = 'exclusive') as workspace_occupied
       from heartbeat_runs r
       join agents a on a.id = r.agent_id
       join companies c on c.id = r.company_id
       left join issues i on i.id = r.issue_id
       left join execution_workspaces w on w.id = i.execution_workspace_id
       where r.id = any(?::uuid[]) and r.status in ${WAITING} and r.due_at <= clock_timestamp()
       for no key update of r skip locked`,
      [`{${ids.join(',')}}`],
    );
    // A cap that was set since is not counted against without its company's lock: those runs wait for the next pass.
    const counted = rows.filter((run) => run.company_cap === null || companies.includes(run.company_id));
    return counted.sort((a, b) => ids.indexOf(a.id) - ids.indexOf(b.id));
  }

  /** Locks rows in id order, passing over those that somebody else holds. */
  private async lock(table: 'companies' | 'agents' | 'issues', ids: string[]): Promise<string[]> {
    const rows = await this.em.execute<{ id: string }[]>(
      `select id from ${table} where id = any(?::uuid[]) order by id for no key update skip locked`,
      [`{${ids.join(',')}}`],
    );
    return rows.map(({ id }) => id);
  }
}

const unique = (ids: string[]) => [...new Set(ids)];
