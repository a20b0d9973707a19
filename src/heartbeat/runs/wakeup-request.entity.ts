import { defineEntity, p } from '@mikro-orm/core';
import { createdAtColumn, idColumn, objectColumn, timeColumn, updatedAtColumn } from '../../database/columns.js';
import { commentIdsOf, mergeIds } from './wake-comments.js';
import type { InvocationSource, TriggerDetail } from './heartbeat-run.entity.js';

export const WAKEUP_STATUSES = [
  'queued',
  'deferred_issue_execution',
  'claimed',
  'coalesced',
  'skipped',
  'completed',
  'failed',
  'cancelled',
] as const;
export type WakeupStatus = (typeof WAKEUP_STATUSES)[number];

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
    claimedAt: timeColumn().nullable(),
    finishedAt: timeColumn().nullable(),
    createdAt: createdAtColumn(),
    updatedAt: updatedAtColumn(),
  },
});

/** Of what several wakes tell together, in characters of JSON; what is too much for that is left out of the later ones. */
const MAX_PAYLOAD_LENGTH = 128 * 1024;

/** A wish that an agent runs. */
export class WakeupRequest extends WakeupRequestSchema.class {
  /** It became this run. */
  becomeRun(runId: string): void {
    this.status = 'queued';
    this.statusReason = null;
    this.runId = runId;
  }

  /** It joined a queued run. */
  coalesceInto(runId: string, at: Date): void {
    this.status = 'coalesced';
    this.statusReason = 'run_already_queued';
    this.runId = runId;
    this.finishedAt = at;
  }

  /** It waits for the run that is working on its issue. */
  defer(): void {
    this.status = 'deferred_issue_execution';
    this.statusReason = 'issue_has_live_run';
    const ids = commentIdsOf(this);
    if (ids.length > 0) this.payload = { ...this.payload, wakeCommentIds: ids, wakeCommentId: ids.at(-1) };
  }

  /** Takes in a later wake for the same agent and issue: comments in order, reasons beside its own. */
  absorb(later: { payload: Record<string, unknown>; reason: string | null }): void {
    const ids = mergeIds(commentIdsOf(this), commentIdsOf(later));
    const reasons = mergeIds(this.reasons(), later.reason ? [later.reason] : []);
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

  /** Every reason it stands for, its own first. */
  reasons(): string[] {
    const { wakeReasons } = this.payload;
    const merged = Array.isArray(wakeReasons) ? wakeReasons.filter((reason) => typeof reason === 'string') : [];
    return mergeIds(this.reason ? [this.reason] : [], merged);
  }
}
WakeupRequestSchema.setClass(WakeupRequest);
