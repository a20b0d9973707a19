import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { newId } from '../../database/id.js';
import { isFresh } from '../claiming/turns.js';
import type { WaitingReason } from '../runs/heartbeat-run.entity.js';
import { reasonOf } from '../waiting/waiting-reasons.js';
import type { QueuePlace } from './grant-lease.js';
import type { LeaseWish, Obstacle } from './lease-wish.js';
import { obstacle, ROOM_OF_WARM } from './queue-order.js';
import { TooManyWaitingError } from './reserving-errors.js';

/** Most callers of one company who wait at once. Several who come at the same moment may be more. */
const MAX_OF_COMPANY = 100;
/** What nobody has been heard of for this long is removed, in seconds; it has not counted for most of that. */
const FORGET_AFTER_SEC = 60;

/** A request that somebody in this process waits with. */
export interface OwnRequest {
  readonly id: string;
  readonly heartbeatRunId: string | null;
}

interface Seen {
  id: string;
  /** What keeps it; null when it is worth trying. */
  code: Obstacle | null;
  environment_id: string;
  environment_name: string;
  workspace_id: string | null;
  workspace_name: string | null;
  has_changed: boolean;
  is_old: boolean;
}

/** The rows of those who wait over HTTP: each counts in the queue for as long as its process says that it does. */
@Injectable()
export class LeaseRequests {
  constructor(private readonly em: EntityManager) {}

  /**
   * Takes a place at the end of the queue.
   * @throws TooManyWaitingError
   */
  async begin(wish: LeaseWish, waitSec: number): Promise<QueuePlace> {
    await this.forgetDead();
    const { companyId, environmentId, executionWorkspaceId, holder } = wish;
    const [place] = await this.em.execute<[{ id: string; created_at: string }?]>(
      `insert into lease_requests (id, company_id, environment_id, execution_workspace_id, holder, seen_at, created_at, give_up_at)
       select ?, ?, ?, ?, ?, now.at, now.at, now.at + make_interval(secs => ?) from (select clock_timestamp() as at) now
       where (select count(*) from lease_requests r where r.company_id = ? and ${isFresh('r')}) < ${MAX_OF_COMPANY}
       returning id, created_at`,
      [newId(), companyId, environmentId, executionWorkspaceId, holder, waitSec, companyId],
    );
    if (!place) throw new TooManyWaitingError(MAX_OF_COMPANY);
    return { id: place.id, since: new Date(place.created_at) };
  }

  /** Gives a place up. */
  async leave({ id }: QueuePlace): Promise<void> {
    await this.em.execute('delete from lease_requests where id = ?', [id]);
  }

  /**
   * Says that these are still waited with, and looks, without locks, what keeps each of them.
   * @returns the ids of those that are worth trying, the longest waiting first.
   */
  async look(own: OwnRequest[]): Promise<string[]> {
    const seen = await this.em.execute<Seen[]>(
      `select x.id, e.id as environment_id, e.name as environment_name, w.id as workspace_id, w.name as workspace_name, why.code,
         why.code is distinct from x.waiting_reason ->> 'code' as has_changed,
         x.seen_at < clock_timestamp() - interval '900 milliseconds' as is_old
       from jsonb_to_recordset(?::jsonb) as own(id uuid, "heartbeatRunId" uuid)
       join (select *, created_at as since from lease_requests) x on x.id = own.id
       join environments e on e.id = x.environment_id
       left join execution_workspaces w on w.id = x.execution_workspace_id
       cross join lateral (select case when own."heartbeatRunId" is null
         or exists (select 1 from heartbeat_runs q where q.id = own."heartbeatRunId" and q.status = 'running')
         then ${obstacle(ROOM_OF_WARM)} end as code) why
       order by x.created_at, x.id`,
      [JSON.stringify(own)],
    );
    await this.note(seen.filter((one) => one.is_old || one.has_changed));
    return seen.filter(({ code }) => code === null).map(({ id }) => id);
  }

  private async note(seen: Seen[]): Promise<void> {
    if (seen.length === 0) return;
    await this.em.execute(
      `update lease_requests r set seen_at = clock_timestamp(), waiting_reason = x.reason
       from jsonb_to_recordset(?::jsonb) as x(id uuid, reason jsonb) where r.id = x.id`,
      [JSON.stringify(seen.map((one) => ({ id: one.id, reason: storedReason(one) })))],
    );
  }

  private async forgetDead(): Promise<void> {
    await this.em.execute(
      `delete from lease_requests where id in (select id from lease_requests
         where seen_at < clock_timestamp() - make_interval(secs => ?) for update skip locked)`,
      [FORGET_AFTER_SEC],
    );
  }
}

function storedReason({ id, code, ...on }: Seen): WaitingReason | null {
  return code && reasonOf({ id, code, due_at: '', ...scopeOf(code, on) });
}

/** What an obstacle is about. */
export function scopeOf(
  code: Obstacle,
  on: Pick<Seen, 'environment_id' | 'environment_name' | 'workspace_id' | 'workspace_name'>,
) {
  return code === 'workspace_occupied'
    ? { scope_type: 'workspace' as const, scope_id: on.workspace_id, scope_name: on.workspace_name }
    : { scope_type: 'environment' as const, scope_id: on.environment_id, scope_name: on.environment_name };
}
