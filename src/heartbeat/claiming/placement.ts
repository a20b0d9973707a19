import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { EnvironmentsService } from '../../environments/environments.service.js';
import type { EnvironmentStatus } from '../../environments/environment.entity.js';
import { isForAssigneeOnly } from '../wakes/assignee-wakes.js';
import type { GatedRun } from './gate.js';

/** The environment that a run goes to, as it is under this transaction's lock. */
export interface ChosenEnvironment {
  id: string;
  name: string;
  driver: string;
  status: EnvironmentStatus;
  deleted: boolean;
  config: Record<string, unknown>;
  envVars: Record<string, string>;
}

/** What the gate says about a run that it holds. */
export type Verdict =
  | { readonly kind: 'start'; readonly run: GatedRun; readonly environment: ChosenEnvironment }
  /** Not now; the next dispatch pass looks again. */
  | { readonly kind: 'wait'; readonly run: GatedRun }
  /** Never: the run ends without having had a lease. */
  | {
      readonly kind: 'never';
      readonly run: GatedRun;
      readonly status: 'failed' | 'cancelled';
      readonly code: string;
      readonly message: string;
    };

/** Decides where held runs go and whether they may start. Nothing falls through to a place that nobody chose. */
@Injectable()
export class Placement {
  constructor(
    private readonly em: EntityManager,
    private readonly environments: EnvironmentsService,
  ) {}

  /** Judges runs in their order; each one that may start uses up its agent's, company's and workspace's room. */
  async judge(runs: GatedRun[]): Promise<Verdict[]> {
    const chosen = await this.choose(runs.filter((run) => !gone(run) && !pointless(run)));
    const room = new Room();
    return runs.map((run) => {
      const environment = chosen.get(run.id)!;
      const never = gone(run) ?? pointless(run) ?? unusable(run, environment);
      if (never) return { kind: 'never', run, ...never };
      // The agent may have been paused since it was a candidate; its row is held now.
      const open = environment.status === 'active' && !run.issue_busy && !ASLEEP.has(run.agent_status);
      return open && room.take(run) ? { kind: 'start', run, environment } : { kind: 'wait', run };
    });
  }

  /** Resolves each run's environment, making `Local` where nothing was chosen, and holds it against a change of status. */
  private async choose(runs: GatedRun[]): Promise<Map<string, ChosenEnvironment>> {
    if (runs.length === 0) return new Map();
    const unchosen = [...new Set(runs.filter((run) => !run.environment_id).map((run) => run.company_id))];
    const locals =
      unchosen.length > 0 ? await this.environments.ensureLocal(unchosen) : new Map<string, { id: string }>();
    const idOf = (run: GatedRun) => run.environment_id ?? locals.get(run.company_id)!.id;
    const ids = [...new Set(runs.map(idOf))];
    const rows = await this.em.execute<(Omit<ChosenEnvironment, 'envVars'> & { env_vars: Record<string, string> })[]>(
      `select id, name, driver, status, deleted_at is not null as deleted, config, env_vars
       from environments where id = any(?::uuid[]) order by id for share`,
      [`{${ids.join(',')}}`],
    );
    const byId = new Map(rows.map(({ env_vars: envVars, ...rest }) => [rest.id, { ...rest, envVars }]));
    return new Map(runs.map((run) => [run.id, byId.get(idOf(run))!]));
  }
}

/** Counts down what a batch may still start; the counts were read under the owners' locks. */
class Room {
  private readonly agents = new Map<string, number>();
  private readonly companies = new Map<string, number>();
  private readonly workspaces = new Set<string>();

  take(run: GatedRun): boolean {
    const agent = this.agents.get(run.agent_id) ?? run.agent_cap - run.agent_running;
    const company = this.companies.get(run.company_id) ?? (run.company_cap ?? Infinity) - run.company_running;
    const exclusive = run.workspace_mode === 'exclusive' ? run.workspace_id : null;
    const occupied = exclusive !== null && (run.workspace_occupied || this.workspaces.has(exclusive));
    if (agent <= 0 || company <= 0 || occupied) return false;
    this.agents.set(run.agent_id, agent - 1);
    this.companies.set(run.company_id, company - 1);
    if (exclusive) this.workspaces.add(exclusive);
    return true;
  }
}

/** Agents in these states start nothing, and keep what they have queued. */
const ASLEEP: ReadonlySet<string> = new Set(['paused', 'pending_approval']);

interface Never {
  status: 'failed' | 'cancelled';
  code: string;
  message: string;
}

function gone(run: GatedRun): Never | null {
  if (run.company_status === 'archived') {
    return {
      status: 'failed',
      code: 'company_archived',
      message: 'The company was archived before the run could start',
    };
  }
  if (run.agent_deleted || run.agent_status === 'terminated') {
    return {
      status: 'failed',
      code: 'agent_terminated',
      message: 'The agent was terminated before the run could start',
    };
  }
  return null;
}

/** A retry was wanted when its run ended; by the time that it is due the issue may have moved on. */
function pointless(run: GatedRun): Never | null {
  if (run.status !== 'scheduled_retry' || !run.issue_id) return null;
  if (run.issue_closed) return { status: 'cancelled', code: 'issue_closed', message: 'The issue was closed meanwhile' };
  if (!run.is_assignee && isForAssigneeOnly(run.context_snapshot.wakeReasons ?? [])) {
    return { status: 'cancelled', code: 'issue_reassigned', message: 'The issue was given to somebody else meanwhile' };
  }
  return null;
}

function unusable(run: GatedRun, environment: ChosenEnvironment): Never | null {
  const name = `The environment "${environment.name}"`;
  if (environment.deleted) return { status: 'failed', code: 'environment_deleted', message: `${name} was deleted` };
  if (environment.status === 'archived')
    return { status: 'failed', code: 'environment_archived', message: `${name} is archived` };
  if (run.workspace_status === 'archived') {
    return {
      status: 'failed',
      code: 'workspace_archived',
      message: `The workspace "${run.workspace_name}" is archived`,
    };
  }
  if (run.workspace_environment_id && run.workspace_environment_id !== environment.id) {
    const message = `${name} was chosen, but the issue's workspace belongs to another environment`;
    return { status: 'failed', code: 'workspace_elsewhere', message };
  }
  return null;
}
