import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { DomainEvents } from '../../events/domain-events.js';
import { NOW, placeFacts, PLACE_COLUMNS, type PlaceRow } from './place-row.js';
import { PlaceCleaning, PlaceRealising, PlaceTakenOver } from './places.events.js';

/** A place that a new lease needs to have made. */
export interface NewPlace {
  readonly id: string;
  readonly companyId: string;
  readonly environmentId: string;
  readonly executionWorkspaceId: string | null;
  readonly leaseId: string;
  readonly driver: string;
  readonly adapterType: string | null;
  readonly configFingerprint: string;
  readonly host: string | null;
  readonly facts: Record<string, unknown>;
}

/** A place that a new lease takes over from the one that kept it. */
export interface TakeOver {
  readonly id: string;
  readonly leaseId: string;
}

/** A kept place that this transaction holds: whoever else wants it, a sweeper too, passes it over. */
export interface KeptPlace {
  id: string;
  environmentId: string;
  state: 'warm' | 'retained';
  host: string | null;
  configFingerprint: string;
  adapterType: string | null;
  executionWorkspaceId: string | null;
  facts: Record<string, unknown>;
  providerLeaseId: string | null;
  /** Of the lease that keeps it. */
  slot: number | null;
  runId: string | null;
}

/** How long a driver may take to make a place, in seconds; the lease ends it earlier if that is not renewed. */
export const MAX_REALISE_SEC = 900;
/** Most kept places of an environment that one transaction looks at. */
const MAX_KEPT = 500;

/** Gives new leases their places, in the transaction that acquires the leases. */
@Injectable()
export class BeginPlaces {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
  ) {}

  /** Holds the kept places of the environments that nobody else holds, those kept longest from now on first. */
  kept(environmentIds: string[]): Promise<KeptPlace[]> {
    return this.em.execute<KeptPlace[]>(
      `select p.id, p.environment_id as "environmentId", p.state, p.host, p.config_fingerprint as "configFingerprint",
         p.adapter_type as "adapterType", p.execution_workspace_id as "executionWorkspaceId", p.facts,
         p.provider_lease_id as "providerLeaseId", l.slot, l.heartbeat_run_id as "runId"
       from environment_places p join environment_leases l on l.id = p.lease_id
       where p.environment_id = any(?::uuid[]) and p.state in ('warm', 'retained') and p.keep_until > clock_timestamp()
       order by p.keep_until desc limit ? for no key update of p skip locked`,
      [`{${environmentIds.join(',')}}`, MAX_KEPT],
    );
  }

  /** Names what is about to be made. */
  async begin(places: NewPlace[]): Promise<void> {
    if (places.length === 0) return;
    const rows = await this.em.execute<PlaceRow[]>(
      `insert into environment_places as p (id, company_id, environment_id, execution_workspace_id, lease_id, state, driver,
         adapter_type, config_fingerprint, host, facts, realise_deadline_at)
       select x.id, x."companyId", x."environmentId", x."executionWorkspaceId", x."leaseId", 'realising', x.driver,
         x."adapterType", x."configFingerprint", x.host, x.facts, clock_timestamp() + make_interval(secs => ?)
       from jsonb_to_recordset(?::jsonb) as x(id uuid, "companyId" uuid, "environmentId" uuid,
         "executionWorkspaceId" uuid, "leaseId" uuid, driver text, "adapterType" text, "configFingerprint" text, host text,
         facts jsonb)
       returning ${PLACE_COLUMNS}`,
      [MAX_REALISE_SEC, JSON.stringify(places)],
    );
    await this.events.record(rows.map((row) => new PlaceRealising(placeFacts(row))));
  }

  /** Hands kept places, held since `kept`, to new leases; what the former leases held is free from now on. */
  async takeOver(takeOvers: TakeOver[]): Promise<void> {
    if (takeOvers.length === 0) return;
    const rows = await this.em.execute<(PlaceRow & { from_lease_id: string })[]>(
      `with wanted as (
         select x.*, p.lease_id as from_lease_id from jsonb_to_recordset(?::jsonb) as x(id uuid, "leaseId" uuid)
         join environment_places p on p.id = x.id),
       freed as (
         update environment_leases l set held_until = greatest(clock_timestamp(), l.released_at), updated_at = now()
         from wanted where l.id = wanted.from_lease_id)
       update environment_places p set state = 'in_use', lease_id = wanted."leaseId", keep_until = null, updated_at = now(),
         realise_deadline_at = clock_timestamp() + make_interval(secs => ?)
       from wanted where p.id = wanted.id and p.state in ('warm', 'retained')
       returning ${PLACE_COLUMNS}, wanted.from_lease_id`,
      [JSON.stringify(takeOvers), MAX_REALISE_SEC],
    );
    if (rows.length !== takeOvers.length) throw new Error('A place that was held for taking over had changed');
    await this.events.record(
      rows.map((row) => new PlaceTakenOver(placeFacts(row, { fromLeaseId: row.from_lease_id }))),
    );
  }

  /** Gives up warm places, held since `kept`, that stand in the way of somebody whom they do not fit. */
  async evict(placeIds: string[]): Promise<void> {
    if (placeIds.length === 0) return;
    const rows = await this.em.execute<PlaceRow[]>(
      `update environment_places p
       set state = 'cleaning', keep_until = null, next_attempt_at = ${NOW}, updated_at = now()
       where p.id = any(?::uuid[]) and p.state = 'warm' returning ${PLACE_COLUMNS}`,
      [`{${placeIds.join(',')}}`],
    );
    await this.events.record(rows.map((row) => new PlaceCleaning(placeFacts(row, { reason: 'room_needed' }))));
  }
}
