import type { EntityManager } from '@mikro-orm/postgresql';
import { UnusableEnvironmentError } from './company-errors.js';

/**
 * Checks that runs may be sent to an environment, and keeps it so until the transaction ends: the share lock makes an
 * archive or delete of it wait, and that one then finds the new reference. Environments live in a module above this
 * one, so this reads their table. A draining environment is accepted: what is sent there waits.
 * @throws UnusableEnvironmentError
 */
export async function assertUsableEnvironment(em: EntityManager, companyId: string, id: string): Promise<void> {
  const [environment] = await em.execute<{ status: string }[]>(
    'select status from environments where company_id = ? and id = ? and deleted_at is null for share',
    [companyId, id],
  );
  if (!environment) throw UnusableEnvironmentError.missing(id);
  if (environment.status === 'archived') throw UnusableEnvironmentError.archived(id);
}
