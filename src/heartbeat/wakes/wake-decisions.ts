import { Injectable } from '@nestjs/common';
import type { RequiredEntityData } from '@mikro-orm/core';
import { EntityManager } from '@mikro-orm/postgresql';
import { canSeeCompany } from '../../auth/access.js';
import { NotFoundError, type DomainError } from '../../errors/domain-error.js';
import { newId } from '../../database/id.js';
import { DomainEvents } from '../../events/domain-events.js';
import type { Actor } from '../../events/actor.js';
import { currentActor, runInScope, type RequestScope } from '../../events/request-scope.js';
import { HeartbeatCoalesced, HeartbeatDeferred } from '../runs/heartbeat.events.js';
import { commentIdsOf } from '../runs/wake-comments.js';
import { QueueRun } from './queue-run.js';
import { QueueRooms, takeRoom, type QueueRoom } from './queue-room.js';
import { SkippedWakes } from './skipped-wakes.js';
import { mergeWake, type Wish } from '../runs/wake-context.js';
import { AgentNotWakeableError, WakeIssueUnknownError, WakeOthersForbiddenError } from './wake-errors.js';
import { issueKey, taskKey, WakeLocks } from './wake-locks.js';
import type { HeldForWakes, LiveRun, LockedAgent, WakeTarget } from './wake-locks.js';
import type { Wake, WakeAnswer } from './wake.js';
import { WakeupRequest } from '../runs/wakeup-request.entity.js';

/** A wake, and in whose name it is decided about. */
export interface AskedWake {
  readonly wake: Wake;
  readonly scope: RequestScope;
  /** Nobody waits for the answer: what cannot be is skipped instead of refused. */
  readonly isOptional: boolean;
}

/** A wake that may be, with what is held for it. */
interface Admitted {
  readonly asked: AskedWake;
  readonly agent: LockedAgent;
  /** Why it comes to nothing all the same. */
  readonly refusal: string | null;
  readonly issueId: string | null;
}

/** The runs that wakes of one batch may join or have to wait for; grows as the batch makes more. */
interface LiveRuns extends Pick<HeldForWakes, 'byIssue' | 'byTask'> {
  /** By company, for how many more there is room. */
  readonly rooms: Map<string, QueueRoom>;
}

/** Decides what becomes of wakes: a run, part of a queued run, a wait, or nothing, always with its reason. */
@Injectable()
export class WakeDecisions {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
    private readonly locks: WakeLocks,
    private readonly queue: QueueRun,
    private readonly skips: SkippedWakes,
    private readonly rooms: QueueRooms,
  ) {}

  /**
   * Decides in the caller's transaction, in the order of the wakes.
   * @returns for each what became of it, or why it is refused.
   */
  async decide(batch: AskedWake[]): Promise<(WakeAnswer | DomainError)[]> {
    const held = await this.locks.hold(batch.map(targetOf));
    const admitted = batch.map((asked) => admit(asked, held));
    const wanted = admitted.filter((one): one is Admitted => 'agent' in one && one.refusal === null);
    const rooms = await this.rooms.of(
      wanted.map(({ agent }) => agent),
      wanted.every(({ asked }) => !asked.isOptional),
    );
    const live = { ...held, rooms };
    const answers: (WakeAnswer | DomainError)[] = [];
    for (const one of admitted) {
      answers.push('agent' in one ? await runInScope(one.asked.scope, () => this.decideOne(one, live)) : one);
    }
    return answers;
  }

  private async decideOne(admitted: Admitted, runs: LiveRuns): Promise<WakeAnswer | DomainError> {
    const { asked, agent, refusal, issueId } = admitted;
    const { wake } = asked;
    if (refusal) return this.skips.skip(agent, wake, issueId, refusal);
    const live = issueId ? runs.byIssue.get(issueId) : runs.byTask.get(taskKey(targetOf(asked)));
    // The beats of a timer are not collected: what waits already stands for all of them.
    if (live && wake.source === 'timer') {
      const waits = live.status === 'scheduled_retry' ? 'retry_scheduled' : 'run_already_queued';
      return this.skips.skip(agent, wake, issueId, waits);
    }
    if (!live) {
      const full = takeRoom(runs.rooms.get(agent.company_id));
      if (full) return asked.isOptional ? this.skips.skip(agent, wake, issueId, full.code) : full;
      return this.start(admitted, runs);
    }
    // The run, or another wake that waits for it, may have been made by this very batch.
    await this.em.flush();
    const joins = live.agent_id === agent.id && live.status === 'queued';
    return joins ? this.coalesce(admitted, live) : this.defer(admitted, live);
  }

  /** One that does not become a run: it has a row of its own. */
  private keep(
    wish: Wish,
    state: Pick<RequiredEntityData<WakeupRequest>, 'status' | 'statusReason' | 'runId' | 'finishedAt'>,
  ) {
    const { type: requestedByActorType, id: requestedByActorId } = currentActor();
    return this.em.create(WakeupRequest, { ...wish, ...state, requestedByActorType, requestedByActorId });
  }

  private async start(admitted: Admitted, runs: LiveRuns): Promise<WakeAnswer> {
    const wish = wishOf(admitted);
    const run = await this.queue.queue(wish);
    const { id, agentId: agent_id, status, contextSnapshot: context_snapshot } = run;
    const live = { id, agent_id, status, context_snapshot };
    if (admitted.issueId) runs.byIssue.set(admitted.issueId, live);
    else runs.byTask.set(taskKey(targetOf(admitted.asked)), live);
    return { wakeupRequestId: wish.id, status: 'queued', reason: wish.reason ?? null, runId: id, run };
  }

  private async coalesce(admitted: Admitted, run: LiveRun): Promise<WakeAnswer> {
    const wish = wishOf(admitted);
    const statusReason = 'run_already_queued';
    this.keep(wish, { status: 'coalesced', statusReason, runId: run.id, finishedAt: new Date() });
    run.context_snapshot = mergeWake(run.context_snapshot, wish);
    await this.em.execute(`update heartbeat_runs set context_snapshot = ?::jsonb, updated_at = now() where id = ?`, [
      JSON.stringify(run.context_snapshot),
      run.id,
    ]);
    const { id: wakeupRequestId, companyId, agentId, source, reason } = wish;
    const ref = { id: run.id, companyId, agentId };
    await this.events.record(new HeartbeatCoalesced(ref, { wakeupRequestId, source, reason }));
    return { wakeupRequestId, status: 'coalesced', reason: statusReason, runId: run.id };
  }

  /** One row per agent and issue waits; later wakes merge into it. */
  private async defer(admitted: Admitted, run: LiveRun): Promise<WakeAnswer> {
    const { agent, issueId: deferredIssueId, asked } = admitted;
    const waiting = await this.em.findOne(WakeupRequest, { agentId: agent.id, deferredIssueId });
    if (waiting) waiting.absorb(asked.wake);
    const reason = 'issue_has_live_run';
    const status = 'deferred_issue_execution';
    const request = waiting ?? this.keep(withComments(wishOf(admitted)), { status, statusReason: reason });
    await this.events.record(new HeartbeatDeferred({ ...request.ref(), reason }));
    return { wakeupRequestId: request.id, status, reason, runId: run.id };
  }
}

const wishOf = ({ asked: { wake }, agent, issueId }: Admitted): Wish => ({
  id: newId(),
  companyId: agent.company_id,
  agentId: agent.id,
  issueId,
  source: wake.source,
  triggerDetail: wake.triggerDetail,
  reason: wake.reason,
  payload: wake.payload,
});

/** Others will be added to its comment while it waits. */
function withComments(wish: Wish): Wish {
  const ids = commentIdsOf(wish);
  return ids.length === 0
    ? wish
    : { ...wish, payload: { ...wish.payload, wakeCommentIds: ids, wakeCommentId: ids.at(-1) } };
}

const textOf = (reference: unknown) => (typeof reference === 'string' ? reference : JSON.stringify(reference));

function targetOf({ wake }: AskedWake): WakeTarget {
  const { issueId: issue, taskKey: key } = wake.payload;
  return {
    agentId: wake.agentId,
    issue: typeof issue === 'string' ? issue : null,
    taskKey: typeof key === 'string' ? key : null,
    isTimer: wake.source === 'timer',
  };
}

/** @returns why it is refused, or with what it may be decided about. */
function admit(asked: AskedWake, { agents, issues }: HeldForWakes): Admitted | DomainError {
  const agent = agents.get(asked.wake.agentId);
  if (!agent) return new NotFoundError('Agent');
  const forbidden = asked.isOptional ? null : whyForbidden(agent, asked.scope.actor);
  if (forbidden) return forbidden;
  const { issueId: reference = null } = asked.wake.payload;
  const issueId = typeof reference === 'string' ? issues.get(issueKey(agent.id, reference)) : null;
  if (reference !== null && !issueId) return new WakeIssueUnknownError(textOf(reference));
  return { asked, agent, issueId: issueId ?? null, refusal: whyPointless(agent, asked.wake) };
}

/** Whether the caller may, and the agent ever can, be woken; a wish that only fails now is skipped instead. */
function whyForbidden(agent: LockedAgent, actor: Actor): DomainError | null {
  if (agent.deleted) return new NotFoundError('Agent');
  if (!canSeeCompany(agent.company_id, actor)) return new NotFoundError('Agent');
  if (actor.type === 'agent' && actor.id !== agent.id) return new WakeOthersForbiddenError();
  const never = neverWakeable(agent);
  if (never) return new AgentNotWakeableError(never);
  return agent.status === 'paused' && actor.type === 'user' ? new AgentNotWakeableError('agent_paused') : null;
}

/** @returns why the wake is skipped, or null. */
function whyPointless(agent: LockedAgent, wake: Wake): string | null {
  const never = neverWakeable(agent);
  if (never) return never;
  if (agent.status === 'paused') return 'agent_paused';
  if (wake.source === 'timer' && agent.heartbeat?.enabled !== true) return 'timer_disabled';
  if (wake.source !== 'timer' && agent.heartbeat?.wakeOnDemand === false) return 'wake_on_demand_disabled';
  return null;
}

/** @returns why the agent can never be woken as it and its company stand, or null. */
function neverWakeable(agent: LockedAgent) {
  if (agent.company_status === 'archived') return 'company_archived';
  if (agent.status === 'terminated') return 'agent_terminated';
  return agent.status === 'pending_approval' ? 'agent_pending_approval' : null;
}
