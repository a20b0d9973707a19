import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { Blockers } from '../waiting/blockers.js';
import type { QueuePlace } from './grant-lease.js';
import { scopeOf } from './lease-requests.js';
import type { LeaseWish, Obstacle, WaitingBefore } from './lease-wish.js';
import { BEFORE } from './queue-order.js';
import { NotGrantedError } from './reserving-errors.js';

const SHOWN = 20;

/** Says what holds what somebody wanted, and who comes first, at the moment of the refusal. */
@Injectable()
export class Refusals {
  constructor(
    private readonly em: EntityManager,
    private readonly blockers: Blockers,
  ) {}

  /** @param place where the wish stood in the queue; null for the end of it. */
  async of(wish: LeaseWish, place: QueuePlace | null, obstacle: Obstacle): Promise<NotGrantedError> {
    const { environmentId, executionWorkspaceId } = wish;
    const [on] = await this.em.execute<[Parameters<typeof scopeOf>[1]]>(
      `select e.id as environment_id, e.name as environment_name, w.id as workspace_id, w.name as workspace_name
       from environments e left join execution_workspaces w on w.id = ?::uuid where e.id = ?`,
      [executionWorkspaceId, environmentId],
    );
    const blocked = { id: '', code: obstacle, due_at: '', ...scopeOf(obstacle, on) };
    const { message, scope, heldBy, heldCount, capacity } = (await this.blockers.explain([blocked])).get(blocked.id)!;
    const waitingBefore = await this.before(wish, place, obstacle);
    const others = waitingBefore.length === 0 ? '' : `; ${waitingBefore.length} waited before`;
    const details = { environmentId, executionWorkspaceId, scope, capacity, heldCount, heldBy, waitingBefore };
    return new NotGrantedError(obstacle, message + others, details);
  }

  private async before(wish: LeaseWish, place: QueuePlace | null, obstacle: Obstacle): Promise<WaitingBefore[]> {
    const before = BEFORE[obstacle];
    if (!before) return [];
    const { companyId, environmentId, executionWorkspaceId } = wish;
    const rows = await this.em.execute<(Omit<WaitingBefore, 'since'> & { since: string })[]>(
      `select before.* from (select ?::uuid as company_id, ?::uuid as environment_id, ?::uuid as execution_workspace_id,
         coalesce(?::timestamptz, clock_timestamp()) as since) x
       cross join lateral (${before}) before order by before.since, before.id limit ${SHOWN}`,
      [companyId, environmentId, executionWorkspaceId, place?.since.toISOString() ?? null],
    );
    return rows.map((row) => ({ ...row, since: new Date(row.since) }));
  }
}
