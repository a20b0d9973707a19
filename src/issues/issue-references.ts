import type { EntityManager } from '@mikro-orm/postgresql';
import { UnknownAssigneeError, UnusableWorkspaceError } from './issue-errors.js';

/**
 * Takes an agent's row lock before the issue's, in the order of locks: whoever is given an issue is woken in the same
 * transaction. A paused or terminated agent can be given one, and is then not woken; a deleted one cannot.
 * @throws UnknownAssigneeError
 */
export async function lockAssignee(em: EntityManager, companyId: string, agentId: string): Promise<void> {
  const found = await em.execute(
    'select id from agents where company_id = ? and id = ? and deleted_at is null for no key update',
    [companyId, agentId],
  );
  if (found.length === 0) throw new UnknownAssigneeError(agentId);
}

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
