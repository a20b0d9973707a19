import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { newId } from '../../database/id.js';
import { DomainEvents } from '../../events/domain-events.js';
import { HeartbeatRun } from '../runs/heartbeat-run.entity.js';
import { HeartbeatInvoked, HeartbeatQueued } from '../runs/heartbeat.events.js';
import { contextOf } from '../runs/wake-context.js';
import type { WakeupRequest } from '../runs/wakeup-request.entity.js';

/** Turns a wakeup request into a queued run. */
@Injectable()
export class QueueRun {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
  ) {}

  /**
   * Queues a run for the wake, in the caller's transaction, which holds the agent's and the issue's locks.
   */
  async queue(wake: WakeupRequest): Promise<HeartbeatRun> {
    const run = this.em.create(HeartbeatRun, {
      id: newId(),
      companyId: wake.companyId,
      agentId: wake.agentId,
      issueId: wake.issueId,
      wakeupRequestId: wake.id,
      invocationSource: wake.source,
      triggerDetail: wake.triggerDetail,
      status: 'queued',
      contextSnapshot: contextOf(wake),
    });
    wake.becomeRun(run.id);
    const facts = { wakeupRequestId: wake.id, source: wake.source, reason: wake.reason, issueId: wake.issueId };
    await this.events.record(
      wake.source === 'on_demand' ? new HeartbeatInvoked(run, facts) : new HeartbeatQueued(run, facts),
    );
    return run;
  }
}
