import { Injectable } from '@nestjs/common';
import { ThisHost } from '../../environments/this-host.js';
import { isForAssigneeOnly } from '../wakes/assignee-wakes.js';
import { ChosenEnvironments, type ChosenEnvironment, type PlannedPlace } from './chosen-environments.js';
import type { GatedRun } from './gate.js';
import { Room, type Seat } from './room.js';

/** What the gate says about a run that it holds. */
export type Verdict =
  | {
      readonly kind: 'start';
      readonly run: GatedRun;
      readonly environment: ChosenEnvironment;
      readonly seat: Seat;
      /** What its driver will make; null where nothing is left behind, or where a kept place is taken over. */
      readonly plan: PlannedPlace | null;
    }
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

/** What a batch of held runs comes to. */
export interface Judgement {
  readonly verdicts: Verdict[];
  /** Warm places that have to go so that somebody else gets their room. */
  readonly evicted: string[];
}

/** Decides where held runs go and whether they may start. Nothing falls through to a place that nobody chose. */
@Injectable()
export class Placement {
  constructor(
    private readonly environments: ChosenEnvironments,
    private readonly host: ThisHost,
  ) {}

  /**
   * Judges runs in their order; each one that may start, at most `limit` of them, uses up its agent's, company's,
   * environment's and workspace's room.
   */
  async judge(runs: GatedRun[], limit: number): Promise<Judgement> {
    const chosen = await this.environments.of(runs.filter((run) => !gone(run) && !pointless(run)));
    const room = new Room(this.host.id);
    let starts = 0;
    const verdicts = runs.map((run): Verdict => {
      const environment = chosen.get(run.id)!;
      const never = gone(run) ?? pointless(run) ?? unusable(run, environment);
      if (never) return { kind: 'never', run, ...never };
      // The agent may have been paused since it was a candidate; its row is held now.
      const open = environment.status === 'active' && !run.issue_busy && !ASLEEP.has(run.agent_status);
      const seat = open && starts < limit ? room.take(run, environment) : null;
      if (!seat) return { kind: 'wait', run };
      starts += 1;
      const plan = seat.kept ? null : this.environments.plan(environment, run.company_id);
      return { kind: 'start', run, environment, seat, plan };
    });
    return { verdicts, evicted: room.evicted };
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
