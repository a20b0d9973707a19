import type { EntityManager } from '@mikro-orm/postgresql';
import { NotFoundError } from '../errors/domain-error.js';
import { IssueChangingError } from './issue-errors.js';
import type { IssueStatus } from './issue.entity.js';
import type { IssueState } from './issues.events.js';

const MAX_ATTEMPTS = 5;
const SAVEPOINT = 'before_issue_locks';

/** An issue whose row is held, and the agents that are held with it. */
export interface LockedIssue {
  readonly issue: IssueState;
  /** Those of the agents to lock that exist in the company and are not deleted. */
  readonly agentIds: ReadonlySet<string>;
}

/**
 * Takes the row locks of agents of a company, in id order so that two that lock several never wait for each other.
 * @returns those that exist there and are not deleted.
 */
export async function lockAgents(em: EntityManager, companyId: string, ids: string[]): Promise<ReadonlySet<string>> {
  if (ids.length === 0) return new Set();
  const rows = await em.execute<{ id: string; deleted_at: string | null }[]>(
    `select id, deleted_at from agents where company_id = ? and id = any(?::uuid[]) order by id for no key update`,
    [companyId, `{${ids.join(',')}}`],
  );
  return new Set(rows.filter(({ deleted_at }) => deleted_at === null).map(({ id }) => id));
}

/**
 * Takes the row locks of every agent that a change of an issue may wake, and then the issue's own: the wake is decided
 * in the same transaction, and everybody locks agents before issues. Its assignee is only certain once the issue is
 * held; if that turns out to be another agent by then, the locks are given back and it starts over.
 * @param others the agents that it may wake besides its assignee.
 * @throws NotFoundError, IssueChangingError
 */
export async function lockIssue(
  em: EntityManager,
  present: Pick<IssueState, 'id' | 'companyId' | 'assigneeAgentId'>,
  others: readonly string[],
): Promise<LockedIssue> {
  let assignee = present.assigneeAgentId ?? null;
  await em.execute(`savepoint ${SAVEPOINT}`);
  for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
    const ids = [...others, ...(assignee === null ? [] : [assignee])];
    const agentIds = await lockAgents(em, present.companyId, ids);
    const issue = await lockRow(em, present.id);
    if (issue.assigneeAgentId === null || ids.includes(issue.assigneeAgentId)) {
      await em.execute(`release savepoint ${SAVEPOINT}`);
      return { issue, agentIds };
    }
    await em.execute(`rollback to savepoint ${SAVEPOINT}`);
    assignee = issue.assigneeAgentId;
  }
  throw new IssueChangingError(present.id);
}

async function lockRow(em: EntityManager, id: string): Promise<IssueState & { assigneeAgentId: string | null }> {
  const [row] = await em.execute<
    { company_id: string; identifier: string; status: IssueStatus; assignee_agent_id: string | null }[]
  >(
    `select company_id, identifier, status, assignee_agent_id from issues
      where id = ? and deleted_at is null for no key update`,
    [id],
  );
  if (!row) throw new NotFoundError('Issue');
  const { company_id: companyId, identifier, status, assignee_agent_id: assigneeAgentId } = row;
  return { id, companyId, identifier, status, assigneeAgentId };
}
