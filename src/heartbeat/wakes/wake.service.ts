import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { NotFoundError } from '../../errors/domain-error.js';
import { newId } from '../../database/id.js';
import { inTransaction } from '../../database/transaction.js';
import { DomainEvents } from '../../events/domain-events.js';
import { currentActor } from '../../events/request-scope.js';
import type { ContextSnapshot, RunStatus } from '../runs/heartbeat-run.entity.js';
import { HeartbeatCoalesced, HeartbeatDeferred } from '../runs/heartbeat.events.js';
import { QueueRun } from './queue-run.js';
import { SkippedWakes } from './skipped-wakes.js';
import { mergeWake } from '../runs/wake-context.js';
import { AgentNotWakeableError, WakeIssueUnknownError, WakeOthersForbiddenError } from './wake-errors.js';
import type { Wake, WakeAnswer } from './wake.js';
import { WakeupRequest } from '../runs/wakeup-request.entity.js';

interface LockedAgent {
  id: string;
  company_id: string;
  status: string;
  company_status: string;
  deleted: boolean;
  heartbeat: { enabled?: boolean; wakeOnDemand?: boolean } | null;
}

interface QueuedOrRunning {
  id: string;
  agent_id: string;
  status: RunStatus;
  context_snapshot: ContextSnapshot;
}

/** Decides what becomes of a wake: a run, part of a queued run, a wait, or nothing, always with its reason. */
@Injectable()
export class WakeService {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
    private readonly queue: QueueRun,
    private readonly skips: SkippedWakes,
  ) {}

  /**
   * Answers a wake that a caller asks for, in one transaction, under the locks of its agent and issue.
   * @throws NotFoundError, AgentNotWakeableError, WakeOthersForbiddenError, WakeIssueUnknownError
   */
  wake(wake: Wake): Promise<WakeAnswer> {
    return inTransaction(this.em, async () => {
      const agent = await this.lockAgent(wake.agentId);
      this.assertMayWake(agent);
      return this.decide(agent, wake);
    });
  }

  /**
   * Answers a wake that an event or a timer gives rise to, in that one's transaction. It never throws for a wake that
   * does not suit: that is skipped with its reason. Agent and issue are locked already, in the order of the house.
   */
  async wakeForEvent(wake: Wake): Promise<WakeAnswer> {
    const answer = await this.decide(await this.lockAgent(wake.agentId), wake);
    // A transaction can give rise to several wakes, and the next one has to see what became of this one.
    await this.em.flush();
    return answer;
  }

  private async decide(agent: LockedAgent, wake: Wake): Promise<WakeAnswer> {
    const issueId = await this.lockIssue(agent.company_id, wake.payload.issueId);
    const refusal = this.refusal(agent, wake);
    if (refusal) return this.skips.skip(agent, wake, issueId, refusal);
    const live = issueId ? await this.liveRunOfIssue(issueId) : await this.waitingRunOfAgent(agent.id, wake);
    // The beats of a timer are not collected: what waits already stands for all of them.
    if (live && wake.source === 'timer') {
      const waits = live.status === 'scheduled_retry' ? 'retry_scheduled' : 'run_already_queued';
      return this.skips.skip(agent, wake, issueId, waits);
    }
    if (!live) return this.start(this.request(agent, wake, issueId));
    const joins = live.agent_id === agent.id && live.status === 'queued';
    return joins ? this.coalesce(this.request(agent, wake, issueId), live) : this.defer(agent, wake, issueId!, live);
  }

  private request(agent: LockedAgent, wake: Wake, issueId: string | null): WakeupRequest {
    const actor = currentActor();
    return this.em.create(WakeupRequest, {
      id: newId(),
      companyId: agent.company_id,
      agentId: agent.id,
      issueId,
      source: wake.source,
      triggerDetail: wake.triggerDetail,
      reason: wake.reason,
      payload: wake.payload,
      status: 'queued',
      requestedByActorType: actor.type,
      requestedByActorId: actor.id,
    });
  }

  /** Whether the caller may, and the agent ever can, be woken; a wish that only fails now is skipped instead. */
  private assertMayWake(agent: LockedAgent): void {
    const actor = currentActor();
    if (agent.deleted) throw new NotFoundError('Agent');
    if (actor.type === 'agent' && actor.companyId !== agent.company_id) throw new NotFoundError('Agent');
    if (actor.type === 'agent' && actor.id !== agent.id) throw new WakeOthersForbiddenError();
    const never = neverWakeable(agent);
    if (never) throw new AgentNotWakeableError(never);
    if (agent.status === 'paused' && actor.type === 'user') throw new AgentNotWakeableError('agent_paused');
  }

  /** A deleted agent too: it is terminated, and can still be the assignee of an issue that something happens to. */
  private async lockAgent(agentId: string): Promise<LockedAgent> {
    const [agent] = await this.em.execute<LockedAgent[]>(
      `select a.id, a.company_id, a.status, c.status as company_status, a.deleted_at is not null as deleted,
         a.runtime_config -> 'heartbeat' as heartbeat
       from agents a join companies c on c.id = a.company_id where a.id = ? for no key update of a`,
      [agentId],
    );
    if (!agent) throw new NotFoundError('Agent');
    return agent;
  }

  /** @returns why the wake is skipped, or null. */
  private refusal(agent: LockedAgent, wake: Wake): string | null {
    const never = neverWakeable(agent);
    if (never) return never;
    if (agent.status === 'paused') return 'agent_paused';
    if (wake.source === 'timer' && agent.heartbeat?.enabled !== true) return 'timer_disabled';
    if (wake.source !== 'timer' && agent.heartbeat?.wakeOnDemand === false) return 'wake_on_demand_disabled';
    return null;
  }

  private async lockIssue(companyId: string, issueId: unknown): Promise<string | null> {
    if (issueId === undefined || issueId === null) return null;
    if (typeof issueId !== 'string') throw new WakeIssueUnknownError(JSON.stringify(issueId));
    const [issue] = await this.em.execute<{ id: string }[]>(
      `select id from issues where company_id = ? and (id::text = ? or identifier = ?) and deleted_at is null
       for no key update`,
      [companyId, issueId, issueId],
    );
    if (!issue) throw new WakeIssueUnknownError(issueId);
    return issue.id;
  }

  /** The issue's live run, held so that it cannot start or end meanwhile. */
  private async liveRunOfIssue(issueId: string): Promise<QueuedOrRunning | null> {
    const [run] = await this.em.execute<QueuedOrRunning[]>(
      `select id, agent_id, status, context_snapshot from heartbeat_runs
       where issue_id = ? and status in ('queued', 'running') for no key update`,
      [issueId],
    );
    return run ?? null;
  }

  /**
   * The agent's queued run with no issue and the same task, held so that it cannot start meanwhile. For a timer also
   * the scheduled retry of an earlier beat: else each beat of an outage would leave a chain of retries of its own.
   */
  private async waitingRunOfAgent(agentId: string, wake: Wake): Promise<QueuedOrRunning | null> {
    const taskKey = typeof wake.payload.taskKey === 'string' ? wake.payload.taskKey : null;
    const [run] = await this.em.execute<QueuedOrRunning[]>(
      `select id, agent_id, status, context_snapshot from heartbeat_runs
       where agent_id = ? and issue_id is null and context_snapshot ->> 'taskKey' is not distinct from ?::text
         and (status = 'queued' or status = 'scheduled_retry' and invocation_source = 'timer' and ?)
       order by id limit 1 for no key update`,
      [agentId, taskKey, wake.source === 'timer'],
    );
    return run ?? null;
  }

  private async start(request: WakeupRequest): Promise<WakeAnswer> {
    const runId = await this.queue.queue(request);
    return { wakeupRequestId: request.id, status: 'queued', reason: request.reason ?? null, runId };
  }

  private async coalesce(request: WakeupRequest, run: QueuedOrRunning): Promise<WakeAnswer> {
    request.coalesceInto(run.id, new Date());
    await this.em.execute(`update heartbeat_runs set context_snapshot = ?::jsonb, updated_at = now() where id = ?`, [
      JSON.stringify(mergeWake(run.context_snapshot, request)),
      run.id,
    ]);
    const ref = { id: run.id, companyId: request.companyId, agentId: request.agentId };
    await this.events.record(
      new HeartbeatCoalesced(ref, { wakeupRequestId: request.id, source: request.source, reason: request.reason }),
    );
    return { wakeupRequestId: request.id, status: 'coalesced', reason: 'run_already_queued', runId: run.id };
  }

  /** One row per agent and issue waits; later wakes merge into it. */
  private async defer(agent: LockedAgent, wake: Wake, issueId: string, run: QueuedOrRunning): Promise<WakeAnswer> {
    const status = 'deferred_issue_execution';
    const waiting = await this.em.findOne(WakeupRequest, { agentId: agent.id, issueId, status });
    if (waiting) waiting.absorb(wake);
    const request = waiting ?? this.request(agent, wake, issueId);
    if (!waiting) request.defer();
    const reason = 'issue_has_live_run';
    await this.events.record(new HeartbeatDeferred({ ...request.ref(), reason }));
    return { wakeupRequestId: request.id, status, reason, runId: run.id };
  }
}

/** @returns why the agent can never be woken as it and its company stand, or null. */
function neverWakeable(agent: LockedAgent) {
  if (agent.company_status === 'archived') return 'company_archived';
  if (agent.status === 'terminated') return 'agent_terminated';
  return agent.status === 'pending_approval' ? 'agent_pending_approval' : null;
}
