import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { newId } from '../../database/id.js';
import { DomainEvents } from '../../events/domain-events.js';
import { HeartbeatRun } from '../runs/heartbeat-run.entity.js';
import { HeartbeatInvoked, HeartbeatQueued } from '../runs/heartbeat.events.js';
import { contextOf, type Wish } from '../runs/wake-context.js';

/** Turns a wish into a queued run, which from then on tells all that there is to tell of it. */
@Injectable()
export class QueueRun {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
  ) {}

  /**
   * Queues a run for the wish, in the caller's transaction, which holds the agent's and the issue's locks.
   */
  async queue(wake: Wish): Promise<HeartbeatRun> {
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
    const { source, reason = null, issueId = null } = wake;
    const facts = { wakeupRequestId: wake.id, source, reason, issueId };
    await this.events.record(
      wake.source === 'on_demand' ? new HeartbeatInvoked(run, facts) : new HeartbeatQueued(run, facts),
    );
    return run;
  }
}
