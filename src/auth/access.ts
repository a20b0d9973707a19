import { NotFoundError } from '../errors/domain-error.js';
import type { Actor } from '../events/actor.js';
import { currentActor } from '../events/request-scope.js';
import { OperatorOnlyError } from './auth-errors.js';

/** The only companies that an actor can see; null for one that sees all. */
function companiesOf(actor: Actor): readonly string[] | null {
  if (actor.type === 'agent') return [actor.companyId];
  return actor.type === 'user' ? (actor.key?.companyIds ?? null) : null;
}

/** The only companies that the current actor can see; null when it sees all. */
export const visibleCompanies = (): readonly string[] | null => companiesOf(currentActor());

/** Whether an actor, the current one unless another is given, can see this company at all. */
export function canSeeCompany(companyId: string, actor: Actor = currentActor()): boolean {
  const companies = companiesOf(actor);
  return companies === null || companies.includes(companyId);
}

/**
 * Another company's things are answered like things that do not exist.
 * @param what what was asked for, as the sentence names it.
 * @throws NotFoundError
 */
export function assertCompanyAccess(companyId: string, what = 'Company'): void {
  if (!canSeeCompany(companyId)) throw new NotFoundError(what);
}

/** The only agent whose runs the current actor can look into; null when it can look into all that it can see. */
export function onlyAgent(): string | null {
  const actor = currentActor();
  return actor.type === 'agent' ? actor.id : null;
}

/**
 * For what a route lets agents do in part, and this part is not for them. What a route is for as a whole its policy says.
 * @throws OperatorOnlyError
 */
export function assertOperator(): void {
  if (currentActor().type === 'agent') throw new OperatorOnlyError();
}
