import { defineEntity, p } from '@mikro-orm/core';
import { createdAtColumn, idColumn, objectColumn, timeColumn, updatedAtColumn } from '../database/columns.js';
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

/** A wish that an agent runs. */
export class WakeupRequest extends WakeupRequestSchema.class {}
WakeupRequestSchema.setClass(WakeupRequest);
