import { defineEntity, p } from '@mikro-orm/core';
import { assignChanges } from '../database/assign-changes.js';
import { createdAtColumn, idColumn, objectColumn, updatedAtColumn } from '../database/columns.js';

export const WORKSPACE_MODES = ['shared', 'exclusive'] as const;
export type WorkspaceMode = (typeof WORKSPACE_MODES)[number];
export const WORKSPACE_STATUSES = ['active', 'archived'] as const;
export type WorkspaceStatus = (typeof WORKSPACE_STATUSES)[number];

const ExecutionWorkspaceSchema = defineEntity({
  name: 'ExecutionWorkspace',
  tableName: 'execution_workspaces',
  properties: {
    id: idColumn(),
    companyId: p.uuid(),
    environmentId: p.uuid(),
    name: p.text(),
    mode: p.text().$type<WorkspaceMode>(),
    cwd: p.text(),
    /** The only host that has it; null for any. */
    host: p.text().nullable(),
    status: p.text().$type<WorkspaceStatus>().default('active'),
    metadata: objectColumn(),
    createdAt: createdAtColumn(),
    updatedAt: updatedAtColumn(),
  },
});

/** What may be changed of a workspace; a field that is left out stays as it is. */
export interface WorkspaceChanges {
  readonly name?: string;
  readonly cwd?: string;
  readonly host?: string | null;
  readonly metadata?: Record<string, unknown>;
}

/** A named working directory in one environment; an `exclusive` one is never used by two runs at once. */
export class ExecutionWorkspace extends ExecutionWorkspaceSchema.class {
  /** @returns the names of the fields that are different now. */
  change(changes: WorkspaceChanges): string[] {
    return assignChanges<ExecutionWorkspace, WorkspaceChanges>(this, changes);
  }

  archive(): void {
    this.status = 'archived';
  }

  activate(): void {
    this.status = 'active';
  }
}
ExecutionWorkspaceSchema.setClass(ExecutionWorkspace);
