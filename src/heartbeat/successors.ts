import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { newId } from '../database/id.js';
import { DomainEvents } from '../events/domain-events.js';
import type { EndedRun } from './ended-run.js';
import { HeartbeatRunEvent, statusEvent } from './heartbeat-run-event.entity.js';
import { HeartbeatRun } from './heartbeat-run.entity.js';
import { HeartbeatRetryScheduled, HeartbeatSkipped } from './heartbeat.events.js';
import { QueueRun } from './queue-run.js';
import { commentIdsOf } from './wake-comments.js';
import { WakeupRequest } from './wakeup-request.entity.js';

/** How often a chain of runs is started again after its runner was lost. */
const MAX_LOSS_RETRIES = 1;

/** What follows from the end of runs, decided in the transaction that ends them: at most one successor each. */
@Injectable()
export class Successors {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
    private readonly queue: QueueRun,
  ) {}

  /** Queues the retries that ended runs have left, then wakes what waited for issues that are free now. */
  async settle(ended: EndedRun[]): Promise<void> {
    const retried = await this.retry(ended.filter(isRetriedAfterLoss));
    const freed = ended.filter((run) => run.issueId && !retried.has(run.id)).map((run) => run.issueId!);
    if (freed.length > 0) await this.promote([...new Set(freed)]);
  }

  /** @returns the ids of the runs that got a retry. */
  private async retry(lost: EndedRun[]): Promise<Set<string>> {
    const wakeable = lost.length > 0 ? await this.wakeableAgents(lost.map((run) => run.agentId)) : new Set<string>();
    const retried = lost.filter((run) => wakeable.has(run.agentId));
    for (const run of retried) await this.retryOne(run);
    return new Set(retried.map((run) => run.id));
  }

  private async retryOne(run: EndedRun): Promise<void> {
    const wake = this.em.create(WakeupRequest, {
      id: newId(),
      companyId: run.companyId,
      agentId: run.agentId,
      issueId: run.issueId,
      source: run.invocationSource,
      triggerDetail: 'system',
      reason: run.errorCode,
      status: 'queued',
      requestedByActorType: 'system',
      requestedByActorId: 'retry',
    });
    const { paperclipEnvironment: _, ...context } = run.contextSnapshot;
    const retry = this.em.create(HeartbeatRun, {
      id: newId(),
      companyId: run.companyId,
      agentId: run.agentId,
      issueId: run.issueId,
      wakeupRequestId: wake.id,
      invocationSource: run.invocationSource,
      triggerDetail: run.triggerDetail,
      status: 'queued',
      contextSnapshot: { ...context, retryOfRunId: run.id, retryReason: run.errorCode },
      retryOfRunId: run.id,
      scheduledRetryReason: run.errorCode,
      processLossRetryCount: run.processLossRetryCount + (run.errorCode === 'process_lost' ? 1 : 0),
    });
    wake.becomeRun(retry.id);
    this.em.create(HeartbeatRunEvent, statusEvent(retry, 'queued'));
    await this.events.record(
      new HeartbeatRetryScheduled(retry, { retryOfRunId: run.id, reason: run.errorCode, wakeupRequestId: wake.id }),
    );
  }

  private async wakeableAgents(ids: string[]): Promise<Set<string>> {
    const rows = await this.em.execute<{ id: string }[]>(
      `select a.id from agents a join companies c on c.id = a.company_id
       where a.id = any(?::uuid[]) and a.status <> 'terminated' and c.status = 'active'`,
      [`{${ids.join(',')}}`],
    );
    return new Set(rows.map(({ id }) => id));
  }

  /** For each issue the oldest wake that is still worth it becomes its run; pointless ones are ended with their reason. */
  private async promote(issueIds: string[]): Promise<void> {
    const waiting = await this.em.find(
      WakeupRequest,
      { issueId: { $in: issueIds }, status: 'deferred_issue_execution' },
      { orderBy: { id: 'asc' } },
    );
    if (waiting.length === 0) return;
    const refusals = await this.refusals(waiting);
    const served = new Set<string>();
    for (const wake of waiting) {
      const reason = refusals.get(wake.id);
      if (served.has(wake.issueId!)) continue;
      if (reason) {
        wake.skip(reason, new Date());
        await this.events.record(new HeartbeatSkipped({ ...wake.ref(), reason }));
      } else {
        served.add(wake.issueId!);
        await this.queue.queue(wake);
      }
    }
  }

  /** Why each of the wakes is pointless now; absent where it is not. */
  private async refusals(waiting: WakeupRequest[]): Promise<Map<string, string>> {
    const rows = await this.em.execute<
      { id: string; agent: string; company: string; issue: string; deleted: boolean }[]
    >(
      `select w.id, a.status as agent, c.status as company, i.status as issue, i.deleted_at is not null as deleted
       from agent_wakeup_requests w join agents a on a.id = w.agent_id join companies c on c.id = w.company_id
       join issues i on i.id = w.issue_id where w.id = any(?::uuid[])`,
      [`{${waiting.map(({ id }) => id).join(',')}}`],
    );
    const wakes = new Map(waiting.map((wake) => [wake.id, wake]));
    return new Map(
      rows.flatMap(({ id, agent, company, issue, deleted }) => {
        const closed =
          deleted || ((issue === 'done' || issue === 'cancelled') && commentIdsOf(wakes.get(id)!).length === 0);
        if (company === 'archived') return [[id, 'company_archived']];
        if (agent === 'paused' || agent === 'terminated') return [[id, `agent_${agent}`]];
        return closed ? [[id, 'issue_closed']] : [];
      }),
    );
  }
}

/** A run that ended through no fault of its own, and has not used up what a chain of runs may lose. */
function isRetriedAfterLoss(run: EndedRun): boolean {
  if (run.status !== 'failed') return false;
  if (run.errorCode === 'runner_shutdown') return true;
  return run.errorCode === 'process_lost' && run.processLossRetryCount < MAX_LOSS_RETRIES;
}
