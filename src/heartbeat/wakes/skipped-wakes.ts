import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { newId } from '../../database/id.js';
import { DomainEvents } from '../../events/domain-events.js';
import { currentActor } from '../../events/request-scope.js';
import { HeartbeatSkipped } from '../runs/heartbeat.events.js';
import type { Wake, WakeAnswer } from './wake.js';

/** Counts wakes that came to nothing: one row per agent and reason, with how often and when last. */
@Injectable()
export class SkippedWakes {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
  ) {}

  /** In the caller's transaction, which holds the agent. A timer's skip is recorded the first time only. */
  async skip(
    agent: { id: string; company_id: string },
    wake: Wake,
    issueId: string | null,
    reason: string,
  ): Promise<WakeAnswer> {
    const actor = currentActor();
    const [row] = await this.em.execute<{ id: string; again: boolean }[]>(
      `insert into agent_wakeup_requests as w (id, company_id, agent_id, issue_id, source, trigger_detail, reason, payload,
         status, status_reason, requested_by_actor_type, requested_by_actor_id, finished_at)
       values (?, ?, ?, ?, ?, ?, ?, ?::jsonb, 'skipped', ?, ?, ?, clock_timestamp())
       on conflict (agent_id, skipped_reason) where skipped_reason is not null do update
       set coalesced_count = w.coalesced_count + 1, issue_id = excluded.issue_id, source = excluded.source,
         trigger_detail = excluded.trigger_detail, reason = excluded.reason, payload = excluded.payload,
         requested_by_actor_type = excluded.requested_by_actor_type,
         requested_by_actor_id = excluded.requested_by_actor_id, finished_at = clock_timestamp(), updated_at = now()
       returning id, coalesced_count > 0 as again`,
      [
        newId(),
        agent.company_id,
        agent.id,
        issueId,
        wake.source,
        wake.triggerDetail,
        wake.reason,
        JSON.stringify(wake.payload),
        reason,
        actor.type,
        actor.id,
      ],
    );
    const { id, again } = row;
    if (!again || wake.source !== 'timer') {
      const ref = { id, companyId: agent.company_id, agentId: agent.id, issueId };
      await this.events.record(new HeartbeatSkipped({ ...ref, reason }));
    }
    return { wakeupRequestId: id, status: 'skipped', reason, runId: null };
  }
}
