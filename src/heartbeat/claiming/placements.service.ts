import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { NotFoundError } from '../../errors/domain-error.js';
import { DECIDED_BY, DESTINATION } from './destination.js';
import type { DecidedBy, HeartbeatRun, RunStatus, WaitingReason } from '../runs/heartbeat-run.entity.js';

/** Everything that the gate asks of a waiting run, as it is now. */
interface GateState {
  agent_status: string;
  agent_id: string;
  agent_cap: number;
  agent_running: number;
  company_id: string;
  company_cap: number | null;
  company_running: number;
  due_at: string;
  is_due: boolean;
  environment_id: string | null;
  environment_name: string | null;
  environment_status: string | null;
  decided_by: DecidedBy;
  workspace_id: string | null;
  workspace_held_by: string | null;
  issue_held_by: string | null;
}

/** What a waiting run waits for, and where a placed one went. */
export interface Explanation {
  runId: string;
  status: RunStatus;
  environment: Record<string, unknown> | null;
  leaseId: string | null;
  decidedBy: DecidedBy;
  waitingReason: WaitingReason | null;
}

/** Explains placements from the state as it is now. */
@Injectable()
export class PlacementsService {
  constructor(private readonly em: EntityManager) {}

  async explain(run: HeartbeatRun): Promise<Explanation> {
    const state = await this.gateState(run.id);
    const waiting = run.status === 'queued' || run.status === 'scheduled_retry';
    const placed = run.contextSnapshot.paperclipEnvironment ?? null;
    const chosen = state.environment_id ? { id: state.environment_id, name: state.environment_name } : null;
    return {
      runId: run.id,
      status: run.status,
      environment: placed ?? chosen,
      leaseId: run.leaseId ?? null,
      // What was decided stays, whatever the references say by now.
      decidedBy: placed?.decidedBy ?? state.decided_by,
      waitingReason: waiting ? (waitsFor(state) ?? run.waitingReason ?? SLOT) : null,
    };
  }

  /** The issue that the run works on, as clients of several issues a run expect it: a list. */
  async issuesOf(run: HeartbeatRun) {
    const rows = await this.em.execute<
      { id: string; identifier: string; title: string; status: string; priority: string }[]
    >(`select id, identifier, title, status, priority from issues where id = ?::uuid`, [run.issueId ?? null]);
    return rows.map((issue) => ({ ...issue, issueId: issue.id, runStatus: run.status }));
  }

  private async gateState(runId: string): Promise<GateState> {
    const [state] = await this.em.execute<GateState[]>(
      `select a.id as agent_id, a.status as agent_status, a.max_concurrent_runs as agent_cap,
         (select count(*)::integer from heartbeat_runs b where b.agent_id = a.id and b.status = 'running') as agent_running,
         c.id as company_id, c.max_concurrent_runs as company_cap,
         (select count(*)::integer from heartbeat_runs b where b.company_id = c.id and b.status = 'running')
           as company_running,
         r.due_at, r.due_at <= clock_timestamp() as is_due,
         e.id as environment_id, e.name as environment_name, e.status as environment_status,
         ${DECIDED_BY} as decided_by,
         w.id as workspace_id,
         (select l.heartbeat_run_id from environment_leases l where l.execution_workspace_id = w.id
           and l.status = 'active' and l.workspace_mode = 'exclusive') as workspace_held_by,
         (select o.id from heartbeat_runs o where o.issue_id = r.issue_id and o.status = 'running' and o.id <> r.id)
           as issue_held_by
       from heartbeat_runs r
       join agents a on a.id = r.agent_id
       join companies c on c.id = r.company_id
       left join issues i on i.id = r.issue_id
       left join execution_workspaces w on w.id = i.execution_workspace_id
       left join environments e on e.id = ${DESTINATION}
       where r.id = ?`,
      [runId],
    );
    if (!state) throw new NotFoundError('Run');
    return state;
  }
}

/** Nothing but a runner that takes it. */
const SLOT: WaitingReason = {
  code: 'no_free_slot',
  message: 'A runner takes it as soon as one has a free slot',
  scope: null,
};

/** The first thing in the gate's order that keeps the run from starting, or null. */
function waitsFor(state: GateState): WaitingReason | null {
  const agent = { type: 'agent', id: state.agent_id } as const;
  const company = { type: 'company', id: state.company_id } as const;
  if (state.agent_status === 'paused') return { code: 'agent_paused', message: 'The agent is paused', scope: agent };
  if (state.agent_status === 'pending_approval') {
    return { code: 'agent_pending_approval', message: 'The agent is waiting for approval', scope: agent };
  }
  if (!state.is_due) {
    return { code: 'not_due', message: `It is not due before ${new Date(state.due_at).toISOString()}`, scope: null };
  }
  if (state.agent_running >= state.agent_cap) {
    const message = `The agent is at its cap: ${state.agent_running} of ${state.agent_cap} runs are running`;
    return { code: 'agent_at_capacity', message, scope: agent };
  }
  if (state.company_cap !== null && state.company_running >= state.company_cap) {
    const message = `The company is at its cap: ${state.company_running} of ${state.company_cap} runs are running`;
    return { code: 'company_at_capacity', message, scope: company };
  }
  return placeWaitsFor(state);
}

function placeWaitsFor(state: GateState): WaitingReason | null {
  if (state.issue_held_by) {
    const scope = { type: 'issue', id: state.issue_held_by } as const;
    return { code: 'issue_busy', message: `Run ${state.issue_held_by} is working on the issue`, scope };
  }
  if (state.environment_id && state.environment_status === 'draining') {
    const scope = { type: 'environment', id: state.environment_id } as const;
    return { code: 'environment_draining', message: `The environment "${state.environment_name}" is draining`, scope };
  }
  if (state.workspace_id && state.workspace_held_by) {
    const scope = { type: 'workspace', id: state.workspace_id } as const;
    return {
      code: 'workspace_occupied',
      message: `Run ${state.workspace_held_by} is in the exclusive workspace`,
      scope,
    };
  }
  return null;
}
