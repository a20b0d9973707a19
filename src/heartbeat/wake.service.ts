import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { NotFoundError } from '../errors/domain-error.js';
import { newId } from '../database/id.js';
import { inTransaction } from '../database/transaction.js';
import { DomainEvents } from '../events/domain-events.js';
import { currentActor } from '../events/request-scope.js';
import type { ContextSnapshot, InvocationSource, RunStatus, TriggerDetail } from './heartbeat-run.entity.js';
import { HeartbeatCoalesced, HeartbeatDeferred, HeartbeatSkipped } from './heartbeat.events.js';
import { QueueRun } from './queue-run.js';
import { mergeWake } from './wake-context.js';
import { AgentNotWakeableError, WakeIssueUnknownError, WakeOthersForbiddenError } from './wake-errors.js';
import { WakeupRequest } from './wakeup-request.entity.js';

/** A wish that an agent runs. */
export interface Wake {
  readonly agentId: string;
  readonly source: InvocationSource;
  readonly triggerDetail: TriggerDetail | null;
  readonly reason: string | null;
  /** `issueId` and `commentId` bind it to an issue. */
  readonly payload: Record<string, unknown>;
}

/** What became of a wake. `runId` is the run it became, joined or waits for. */
export interface WakeAnswer {
  readonly wakeupRequestId: string;
  readonly status: 'queued' | 'coalesced' | 'deferred_issue_execution' | 'skipped';
  readonly reason: string | null;
  readonly runId: string | null;
}

interface LockedAgent {
  id: string;
  company_id: string;
  status: string;
  company_status: string;
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
  ) {}

  /**
   * Answers a wake in one transaction, under the locks of its agent and issue.
   * @throws NotFoundError, AgentNotWakeableError, WakeOthersForbiddenError, WakeIssueUnknownError
   */
  wake(wake: Wake): Promise<WakeAnswer> {
    return inTransaction(this.em, async () => {
      const agent = await this.lockAgent(wake.agentId);
      const refusal = this.refusal(agent, wake);
      const issueId = await this.lockIssue(agent.company_id, wake.payload.issueId);
      const request = this.em.create(WakeupRequest, {
        id: newId(),
        companyId: agent.company_id,
        agentId: agent.id,
        issueId,
        source: wake.source,
        triggerDetail: wake.triggerDetail,
        reason: wake.reason,
        payload: wake.payload,
        status: 'queued',
        requestedByActorType: currentActor().type,
        requestedByActorId: currentActor().id,
      });
      if (refusal) return this.skip(request, refusal);
      const live = issueId ? await this.liveRunOfIssue(issueId) : await this.queuedRunOfAgent(agent.id, wake);
      if (!live) return this.start(request);
      if (live.agent_id === agent.id && live.status === 'queued') return this.coalesce(request, live);
      return this.defer(request, live);
    });
  }

  private async lockAgent(agentId: string): Promise<LockedAgent> {
    const [agent] = await this.em.execute<LockedAgent[]>(
      `select a.id, a.company_id, a.status, c.status as company_status, a.runtime_config -> 'heartbeat' as heartbeat
       from agents a join companies c on c.id = a.company_id
       where a.id = ? and a.deleted_at is null for no key update of a`,
      [agentId],
    );
    const actor = currentActor();
    if (!agent || (actor.type === 'agent' && actor.companyId !== agent.company_id)) throw new NotFoundError('Agent');
    if (actor.type === 'agent' && actor.id !== agent.id) throw new WakeOthersForbiddenError();
    return agent;
  }

  /** @returns why the wake is skipped, or null. */
  private refusal(agent: LockedAgent, wake: Wake): string | null {
    if (agent.company_status === 'archived') throw new AgentNotWakeableError('company_archived');
    if (agent.status === 'terminated') throw new AgentNotWakeableError('agent_terminated');
    if (agent.status === 'pending_approval') throw new AgentNotWakeableError('agent_pending_approval');
    if (agent.status === 'paused') {
      if (currentActor().type === 'user') throw new AgentNotWakeableError('agent_paused');
      return 'agent_paused';
    }
    if (wake.source === 'timer' && agent.heartbeat?.enabled !== true) return 'timer_disabled';
    if (wake.source !== 'timer' && agent.heartbeat?.wakeOnDemand === false) return 'wake_on_demand_disabled';
    return null;
  }

  private async lockIssue(companyId: string, issueId: unknown): Promise<string | null> {
    if (issueId === undefined || issueId === null) return null;
    const [issue] = await this.em.execute<{ id: string }[]>(
      `select id from issues where company_id = ? and (id::text = ? or identifier = ?) and deleted_at is null
       for no key update`,
      [companyId, String(issueId), String(issueId)],
    );
    if (!issue) throw new WakeIssueUnknownError(String(issueId));
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

  /** The agent's queued run with no issue and the same task, held so that it cannot start meanwhile. */
  private async queuedRunOfAgent(agentId: string, wake: Wake): Promise<QueuedOrRunning | null> {
    const taskKey = typeof wake.payload.taskKey === 'string' ? wake.payload.taskKey : null;
    const [run] = await this.em.execute<QueuedOrRunning[]>(
      `select id, agent_id, status, context_snapshot from heartbeat_runs
       where agent_id = ? and status = 'queued' and issue_id is null
         and context_snapshot ->> 'taskKey' is not distinct from ?::text
       order by id limit 1 for no key update`,
      [agentId, taskKey],
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
  private async defer(request: WakeupRequest, run: QueuedOrRunning): Promise<WakeAnswer> {
    const [waiting] = await this.em.find(WakeupRequest, {
      agentId: request.agentId,
      issueId: request.issueId,
      status: 'deferred_issue_execution',
    });
    if (waiting) {
      waiting.absorb(request);
      request.coalesceInto(null, new Date());
    } else {
      request.defer();
    }
    const reason = 'issue_has_live_run';
    await this.events.record(new HeartbeatDeferred({ ...(waiting ?? request).ref(), reason }));
    const status = 'deferred_issue_execution';
    return { wakeupRequestId: (waiting ?? request).id, status, reason, runId: run.id };
  }

  private async skip(request: WakeupRequest, reason: string): Promise<WakeAnswer> {
    request.skip(reason, new Date());
    await this.events.record(new HeartbeatSkipped({ ...request.ref(), reason }));
    return { wakeupRequestId: request.id, status: 'skipped', reason, runId: null };
  }
}
