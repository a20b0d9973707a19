import type { EntityManager } from '@mikro-orm/postgresql';
import { UnusableWorkspaceError } from './issue-errors.js';

/**
 * Checks that runs may be sent to a workspace, and keeps it so until the transaction ends. Workspaces live in a module
 * that this one does not know, so this reads their table.
 * @throws UnusableWorkspaceError
 */
export async function assertUsableWorkspace(em: EntityManager, companyId: string, id: string): Promise<void> {
  const [workspace] = await em.execute<{ status: string }[]>(
    'select status from execution_workspaces where company_id = ? and id = ? for share',
    [companyId, id],
  );
  if (!workspace) throw UnusableWorkspaceError.missing(id);
  if (workspace.status === 'archived') throw UnusableWorkspaceError.archived(id);
}
