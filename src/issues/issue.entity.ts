import { defineEntity, p } from '@mikro-orm/core';
import { createdAtColumn, idColumn, timeColumn, updatedAtColumn } from '../database/columns.js';

export const ISSUE_STATUSES = [
  'backlog',
  'todo',
  'in_progress',
  'in_review',
  'done',
  'blocked',
  'cancelled',
] as const;
export type IssueStatus = (typeof ISSUE_STATUSES)[number];
export const ISSUE_PRIORITIES = ['critical', 'high', 'medium', 'low'] as const;
export type IssuePriority = (typeof ISSUE_PRIORITIES)[number];

const IssueSchema = defineEntity({
  name: 'Issue',
  tableName: 'issues',
  properties: {
    id: idColumn(),
    companyId: p.uuid(),
    number: p.integer(),
    identifier: p.text(),
    title: p.text(),
    description: p.text().nullable(),
    status: p.text().$type<IssueStatus>().default('todo'),
    priority: p.text().$type<IssuePriority>().default('medium'),
    assigneeAgentId: p.uuid().nullable(),
    environmentId: p.uuid().nullable(),
    executionWorkspaceId: p.uuid().nullable(),
    deletedAt: timeColumn().nullable(),
    createdAt: createdAtColumn(),
    updatedAt: updatedAtColumn(),
    /** The issue's queued or running run, derived when read; undefined on an issue that was just created. */
    executionRunId: p.uuid().formula((columns) => `live_run_of_issue(${columns.id})`).nullable(),
  },
});

/** A piece of work that agents are woken for. */
export class Issue extends IssueSchema.class {
  moveTo(status: IssueStatus): void {
    this.status = status;
  }

  delete(at: Date): void {
    this.deletedAt = at;
  }

  /** Whether work on it can still be wanted. */
  isOpen(): boolean {
    return this.deletedAt === null && this.status !== 'done' && this.status !== 'cancelled';
  }
}
IssueSchema.setClass(Issue);
