import { defineEntity, p } from '@mikro-orm/core';
import { timeColumn } from '../database/columns.js';

const ActivityRowSchema = defineEntity({
  name: 'ActivityRow',
  tableName: 'activity_rows',
  properties: {
    /** Insertion order, given by the database; the next number is the second entry's, of a row that tells of two. */
    seq: p.bigint('number').primary().autoincrement(),
    companyId: p.uuid(),
    actorType: p.text().$type<'agent' | 'user' | 'system' | 'plugin'>(),
    actorId: p.text(),
    action: p.text(),
    /** What it is about, unless that is its run. */
    entityType: p.text().nullable(),
    entityId: p.text().nullable(),
    agentId: p.uuid().nullable(),
    runId: p.uuid().nullable(),
    details: p.json<Record<string, unknown>>().nullable(),
    // Of a row that tells of a run and of its lease, instead of details.
    leaseId: p.uuid().nullable(),
    environmentId: p.uuid().nullable(),
    executionWorkspaceId: p.uuid().nullable(),
    issueId: p.uuid().nullable(),
    driver: p.text().nullable(),
    leasePolicy: p.text().nullable(),
    host: p.text().nullable(),
    createdAt: timeColumn().defaultRaw('clock_timestamp()'),
  },
});

/** What is written of one entry of the record, or of two; `activity_log` shows each by itself. */
export class ActivityRow extends ActivityRowSchema.class {
  /** Whether it can still be changed: in the database the record only grows. */
  isWritten(): boolean {
    return this.seq !== undefined;
  }
}
ActivityRowSchema.setClass(ActivityRow);
