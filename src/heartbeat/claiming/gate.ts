import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { answers } from '../../database/answers.js';
import type { EnvironmentStatus } from '../../environments/environment.entity.js';
import type { LeasePolicy } from '../../environments/lease-policy.js';
import { ThisHost } from '../../environments/this-host.js';
import type {
  ContextSnapshot,
  DecidedBy,
  InvocationSource,
  TriggerDetail,
  WaitingReason,
} from '../runs/heartbeat-run.entity.js';
import { CANDIDATES } from './candidates.js';
import { DECIDED_BY, DESTINATION, REFERENCES, type References } from '../../environments/destination.js';
import { WAITING_STATUSES } from './turns.js';

/** A run that was free to start when it was looked at, before any lock. */
export interface Candidate {
  readonly id: string;
  readonly agentId: string;
  readonly companyId: string;
  readonly companyCapped: boolean;
  /** The issue on which a due retry would become live; a queued run is live there already. */
  readonly retryIssueId: string | null;
}

/** What one look found. */
export interface Look {
  /** In fair order. */
  readonly candidates: readonly Candidate[];
  /** How many of them come first in any case: whatever was not looked at comes after these. */
  readonly certain: number;
  /** Whether there may be others that can start besides. */
  readonly more: boolean;
}

interface CandidateRow {
  id: string;
  agent_id: string;
  company_id: string;
  capped: boolean;
  issue: string | null;
  cut: boolean;
  fits: boolean;
}

/** A row of `environments`, held against a change of its status. */
export interface HeldEnvironment {
  id: string;
  name: string;
  driver: string;
  status: EnvironmentStatus;
  deleted: boolean;
  config: Record<string, unknown>;
  env_vars: Record<string, string>;
  lease_policy: LeasePolicy;
  /** Null for no limit. */
  capacity: number | null;
}

/** The columns of that. */
export const HELD_ENVIRONMENT = `id, name, driver, status, deleted_at is not null as deleted, config, env_vars, lease_policy, capacity`;

/** A run that is held for starting, with everything that decides whether and where it may. */
export interface GatedRun {
  id: string;
  company_id: string;
  agent_id: string;
  issue_id: string | null;
  status: 'queued' | 'scheduled_retry';
  due_at: string;
  issue_closed: boolean;
  is_assignee: boolean;
  issue_busy: boolean;
  retry_of_run_id: string | null;
  context_snapshot: ContextSnapshot;
  invocation_source: InvocationSource;
  trigger_detail: TriggerDetail | null;
  waiting_reason: WaitingReason | null;
  agent_status: string;
  agent_deleted: boolean;
  agent_cap: number;
  agent_running: number;
  adapter_type: string;
  adapter_config: Record<string, unknown>;
  company_status: string;
  company_cap: number | null;
  company_running: number;
  /** Null while `Local`, which nobody chose, has not been made. */
  environment_id: string | null;
  /** As it was without its lock: whether its room has to be counted. */
  environment_capacity: number | null;
  /** Held, where it has no capacity. */
  unlimited: HeldEnvironment | null;
  decided_by: DecidedBy;
  chosen_by: References;
  workspace_id: string | null;
  workspace_name: string | null;
  workspace_status: 'active' | 'archived' | null;
  workspace_mode: 'shared' | 'exclusive' | null;
  workspace_cwd: string | null;
  workspace_host: string | null;
  workspace_environment_id: string | null;
  workspace_occupied: boolean;
}

/** The one gate that every start passes: asked twice, first to find runs, then to decide under locks. */
@Injectable()
export class Gate {
  constructor(
    private readonly em: EntityManager,
    private readonly host: ThisHost,
  ) {}

  /**
   * Runs that may start here as far as can be seen without locks, at most `limit`. What cannot start now is not among
   * them, so that it takes nobody's turn; what can never start is, so that somebody fails it.
   */
  async candidates(limit: number): Promise<Look> {
    const rows = await this.em.execute<CandidateRow[]>(CANDIDATES, [this.host.id, limit, limit]);
    const fit = ({ fits }: CandidateRow) => fits;
    return {
      candidates: rows.filter(fit).map(candidate),
      certain: rows.slice(0, certainOf(rows, limit)).filter(fit).length,
      more: rows.some(({ cut }) => cut),
    };
  }

  /**
   * Locks what decides about the candidates, in lock order, and looks again. What others hold is left to them.
   * @returns the candidates that are still waiting, in their order, now held by this transaction.
   */
  async enter(candidates: readonly Candidate[]): Promise<GatedRun[]> {
    const capped = unique(candidates.filter((one) => one.companyCapped).map((one) => one.companyId));
    const companies = await this.lock('companies', capped);
    const open = candidates.filter((one) => !one.companyCapped || companies.includes(one.companyId));
    if (open.length === 0) return [];
    // Nobody waits for these locks, so the look under them can be asked for together with them.
    const [agents, issues, runs] = await answers([
      this.lock('agents', unique(open.map((one) => one.agentId))),
      this.lock('issues', unique(open.flatMap((one) => one.retryIssueId ?? []))),
      this.hold(open.map(({ id }) => id)),
    ]);
    const held = open.flatMap((one) => {
      const run = runs.get(one.id);
      const isHeld = agents.includes(one.agentId) && (one.retryIssueId === null || issues.includes(one.retryIssueId));
      return isHeld && run ? [run] : [];
    });
    // A cap that was set since is not counted against without its company's lock: those runs wait for the next pass.
    return held.filter((run) => run.company_cap === null || companies.includes(run.company_id));
  }

  /**
   * Holds waiting runs whose agents nobody else holds, with what decides about them. A statement of its own: only a
   * snapshot taken after the locks on agents and issues sees what their last holders did. An agent that comes free just
   * then is held here, too, but too late to count.
   */
  private async hold(ids: string[]): Promise<Map<string, GatedRun>> {
    const rows = await this.em.execute<GatedRun[]>(
      `select r.id, r.company_id, r.agent_id, r.issue_id, r.status, r.due_at, r.retry_of_run_id,
         r.context_snapshot, r.invocation_source, r.trigger_detail, r.waiting_reason,
         i.deleted_at is not null or i.status in ('done', 'cancelled') as issue_closed,
         i.assignee_agent_id = r.agent_id as is_assignee,
         exists (select 1 from heartbeat_runs o where o.issue_id = r.issue_id and o.status in ('queued', 'running')
           and o.id <> r.id) as issue_busy,
         a.status as agent_status, a.deleted_at is not null as agent_deleted, a.max_concurrent_runs as agent_cap,
         (select count(*)::integer from heartbeat_runs b where b.company_id = a.company_id
           and b.agent_id = a.id and b.status = 'running') as agent_running,
         a.adapter_type, a.adapter_config, c.status as company_status, c.max_concurrent_runs as company_cap,
         case when c.max_concurrent_runs is null then 0 else (select count(*)::integer from heartbeat_runs b
           where b.company_id = c.id and b.status = 'running') end as company_running,
         destination.environment_id, e.capacity as environment_capacity, to_jsonb(unlimited) as unlimited,
         ${DECIDED_BY} as decided_by, ${REFERENCES} as chosen_by,
         w.id as workspace_id, w.name as workspace_name, w.status as workspace_status, w.mode as workspace_mode,
         w.cwd as workspace_cwd, w.host as workspace_host, w.environment_id as workspace_environment_id,
         exists (select 1 from environment_leases l where l.execution_workspace_id = w.id and l.status = 'active'
           and l.workspace_mode = 'exclusive') as workspace_occupied
       from heartbeat_runs r
       join agents a on a.id = r.agent_id
       join companies c on c.id = r.company_id
       left join issues i on i.id = r.issue_id
       left join execution_workspaces w on w.id = i.execution_workspace_id
       cross join lateral (select ${DESTINATION} as environment_id) destination
       left join environments e on e.id = destination.environment_id
       -- One with a capacity is held otherwise: two that both held it this way and wanted more would wait for each other.
       left join lateral (select ${HELD_ENVIRONMENT} from environments
         where id = destination.environment_id and capacity is null for share) unlimited on true
       where r.id = any(?::uuid[]) and r.status = any(?::text[]) and r.due_at <= clock_timestamp()
       for no key update of a, r skip locked`,
      [`{${ids.join(',')}}`, WAITING_STATUSES],
    );
    return new Map(rows.map((row) => [row.id, row]));
  }

  /** Locks rows in id order, passing over those that somebody else holds. */
  private async lock(table: 'companies' | 'agents' | 'issues', ids: string[]): Promise<string[]> {
    if (ids.length === 0) return [];
    const rows = await this.em.execute<{ id: string }[]>(
      `select id from ${table} where id = any(?::uuid[]) order by id for no key update skip locked`,
      [`{${ids.join(',')}}`],
    );
    return rows.map(({ id }) => id);
  }
}

/** Of a company that may have more than these its next one comes in the round after its last one here. */
function certainOf(rows: readonly CandidateRow[], limit: number): number {
  const rounds = new Map<string, number>();
  const roundOf = rows.map(({ company_id: id }) => rounds.set(id, (rounds.get(id) ?? 0) + 1).get(id)!);
  const isCut = rows.length === limit ? rows : rows.filter(({ cut }) => cut);
  const last = Math.min(...isCut.map(({ company_id: id }) => rounds.get(id)!));
  const uncertain = roundOf.findIndex((round) => round > last);
  return uncertain < 0 ? rows.length : uncertain;
}

const candidate = (row: CandidateRow): Candidate => ({
  id: row.id,
  agentId: row.agent_id,
  companyId: row.company_id,
  companyCapped: row.capped,
  retryIssueId: row.issue,
});

const unique = (ids: string[]) => [...new Set(ids)];
