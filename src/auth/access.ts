import { NotFoundError } from '../errors/domain-error.js';
import { currentActor } from '../events/request-scope.js';
import { OperatorOnlyError } from './auth-errors.js';

/** Whether the current actor can see this company at all: an agent sees its own only. */
export function canSeeCompany(companyId: string): boolean {
  const actor = currentActor();
  return actor.type !== 'agent' || actor.companyId === companyId;
}

/**
 * Another company's things are answered like things that do not exist.
 * @param what what was asked for, as the sentence names it.
 * @throws NotFoundError
 */
export function assertCompanyAccess(companyId: string, what = 'Company'): void {
  if (!canSeeCompany(companyId)) throw new NotFoundError(what);
}

/**
 * For what no agent may do. Comes after the check that the caller may see the thing at all.
 * @throws OperatorOnlyError
 */
export function assertOperator(): void {
  if (currentActor().type === 'agent') throw new OperatorOnlyError();
}
