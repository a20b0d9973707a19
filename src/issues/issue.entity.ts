import { defineEntity, p } from '@mikro-orm/core';
import { assignChanges } from '../database/assign-changes.js';
import { createdAtColumn, idColumn, timeColumn, updatedAtColumn } from '../database/columns.js';

export const ISSUE_STATUSES = ['backlog', 'todo', 'in_progress', 'in_review', 'done', 'blocked', 'cancelled'] as const;
export type IssueStatus = (typeof ISSUE_STATUSES)[number];

/** Whether work on an issue of this status can still be wanted. */
export const isOpenStatus = (status: IssueStatus): boolean => status !== 'done' && status !== 'cancelled';

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
    executionRunId: p
      .uuid()
      .formula((columns) => `live_run_of_issue(${columns.id})`)
      .nullable(),
  },
});

/** What may be changed of an issue; a field that is left out stays as it is. */
export interface IssueChanges {
  readonly title?: string;
  readonly description?: string | null;
  readonly status?: IssueStatus;
  readonly priority?: IssuePriority;
  readonly assigneeAgentId?: string | null;
  readonly environmentId?: string | null;
  readonly executionWorkspaceId?: string | null;
}

/** A piece of work that agents are woken for. */
export class Issue extends IssueSchema.class {
  /** @returns the names of the fields that are different now. */
  change(changes: IssueChanges): (keyof IssueChanges)[] {
    return assignChanges<Issue, IssueChanges>(this, changes);
  }

  delete(at: Date): void {
    this.deletedAt = at;
  }
}
IssueSchema.setClass(Issue);
