import { defineEntity, p } from '@mikro-orm/core';
import { createdAtColumn, idColumn, objectColumn, timeColumn, updatedAtColumn } from '../../database/columns.js';
import { commentIdsOf, mergeIds } from './wake-comments.js';
import type { InvocationSource, TriggerDetail } from './heartbeat-run.entity.js';
import { reasonsOf } from './wake-context.js';

/** What can come of a wish that does not become a run: one that does is told of by its run. */
export type WakeupStatus = 'deferred_issue_execution' | 'coalesced' | 'skipped' | 'cancelled';

const WakeupRequestSchema = defineEntity({
  name: 'WakeupRequest',
  tableName: 'agent_wakeup_requests',
  properties: {
    id: idColumn(),
    companyId: p.uuid(),
    agentId: p.uuid(),
    issueId: p.uuid().nullable(),
    /** Its issue while it waits for that; the database derives it. */
    deferredIssueId: p
      .uuid()
      .nullable()
      .generated(`case when status = 'deferred_issue_execution' then issue_id end stored`),
    /** The run that it joined. */
    runId: p.uuid().nullable(),
    source: p.text().$type<InvocationSource>(),
    triggerDetail: p.text().$type<TriggerDetail>().nullable(),
    reason: p.text().nullable(),
    payload: objectColumn(),
    status: p.text().$type<WakeupStatus>(),
    statusReason: p.text().nullable(),
    coalescedCount: p.integer().default(0),
    requestedByActorType: p.text().$type<'agent' | 'user' | 'system' | 'plugin'>(),
    requestedByActorId: p.text(),
    finishedAt: timeColumn().nullable(),
    createdAt: createdAtColumn(),
    updatedAt: updatedAtColumn(),
  },
});

/** Of what several wakes tell together, in characters of JSON; what is too much for that is left out of the later ones. */
const MAX_PAYLOAD_LENGTH = 128 * 1024;

/** A wish that an agent runs, which has not become a run: it waits, has joined one, or came to nothing. */
export class WakeupRequest extends WakeupRequestSchema.class {
  /** Takes in a later wake for the same agent and issue: comments in order, reasons beside its own. */
  absorb(later: { payload: Record<string, unknown>; reason: string | null }): void {
    const ids = mergeIds(commentIdsOf(this), commentIdsOf(later));
    const reasons = mergeIds(reasonsOf(this), later.reason ? [later.reason] : []);
    this.coalescedCount += 1;
    const both = { ...later.payload, ...this.payload };
    this.payload = {
      ...(JSON.stringify(both).length <= MAX_PAYLOAD_LENGTH ? both : this.payload),
      ...(ids.length > 0 ? { wakeCommentIds: ids, wakeCommentId: ids.at(-1) } : {}),
      wakeReasons: reasons,
    };
  }

  /** It became pointless while it waited. */
  cancel(reason: string, at: Date): void {
    this.status = 'cancelled';
    this.statusReason = reason;
    this.finishedAt = at;
  }

  /** What its events say of it. */
  ref(): { id: string; companyId: string; agentId: string; issueId: string | null } {
    return { id: this.id, companyId: this.companyId, agentId: this.agentId, issueId: this.issueId ?? null };
  }
}
WakeupRequestSchema.setClass(WakeupRequest);
