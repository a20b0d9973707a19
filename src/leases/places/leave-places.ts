import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { DomainEvents } from '../../events/domain-events.js';
import { NOW, placeFacts, PLACE_COLUMNS, type PlaceRow } from './place-row.js';
import { PlaceCleaning, PlaceKeptWarm, PlaceRetained } from './places.events.js';

/** A lease that has just ended. */
export interface Leaving {
  readonly leaseId: string;
  /** Its holder did what it came for: only then is the place as good as it was. */
  readonly succeeded: boolean;
}

/** Decides what becomes of places whose lease has ended. */
@Injectable()
export class LeavePlaces {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
  ) {}

  /**
   * In the transaction that ended the leases: a place that was in use is kept if its lease's policy says so; any other is
   * to be taken down, also one that is still being made.
   */
  async leave(leaving: Leaving[]): Promise<void> {
    const rows = await this.em.execute<(PlaceRow & { keep_until: string | null })[]>(
      `update environment_places p
       set state = case p.state when 'in_use' then next.state else 'cleaning' end, updated_at = now(),
         keep_until = case when p.state = 'in_use' then clock_timestamp() + make_interval(secs => next.keep_sec) end,
         next_attempt_at = case when p.state <> 'in_use' or next.state = 'cleaning' then ${NOW} end
       from jsonb_to_recordset(?::jsonb) as x("leaseId" uuid, succeeded boolean)
       join environment_leases l on l.id = x."leaseId"
       join environments e on e.id = l.environment_id
       cross join lateral (select
         x.succeeded and e.status = 'active' and l.lease_policy in ('reuse_by_environment', 'reuse_by_execution_workspace')
           as warm,
         l.lease_policy = 'retain_on_failure' and l.status in ('failed', 'expired') as retained) keep
       cross join lateral (select
         case when keep.warm then 'warm' when keep.retained then 'retained' else 'cleaning' end as state,
         case when keep.warm then e.warm_sec when keep.retained then e.retain_sec end as keep_sec) next
       where p.lease_id = l.id and p.company_id = l.company_id and p.state in ('realising', 'in_use')
       returning ${PLACE_COLUMNS}, p.keep_until`,
      [JSON.stringify(leaving)],
    );
    await this.events.record(rows.map(left));
  }
}

function left(row: PlaceRow & { keep_until: string | null }) {
  switch (row.state) {
    case 'warm':
      return new PlaceKeptWarm(placeFacts(row, until(row.keep_until)));
    case 'retained':
      return new PlaceRetained(placeFacts(row, until(row.keep_until)));
    default:
      return new PlaceCleaning(placeFacts(row));
  }
}

const until = (at: string | null) => ({ keepUntil: at && new Date(at).toISOString() });
