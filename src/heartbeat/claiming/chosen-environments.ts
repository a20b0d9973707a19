import { createHash } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { answers } from '../../database/answers.js';
import { newId } from '../../database/id.js';
import { DriverRegistry } from '../../environments/drivers/driver-registry.js';
import { EnvironmentsService } from '../../environments/environments.service.js';
import type { LeasePolicy } from '../../environments/lease-policy.js';
import { BeginPlaces, type KeptPlace } from '../../leases/places/begin-places.js';
import { waitsForRoom } from './turns.js';
import { HELD_ENVIRONMENT, type GatedRun, type HeldEnvironment } from './gate.js';

/** The environment that runs go to, as it is under this transaction's lock. */
export interface ChosenEnvironment extends Omit<HeldEnvironment, 'env_vars' | 'lease_policy'> {
  envVars: Record<string, string>;
  leasePolicy: LeasePolicy;
  /** Whether its room was counted under its lock, as it has to be to be given away. */
  counted: boolean;
  /** Leases that hold it, ended ones with a place that has not gone included. */
  held: number;
  /** Which of its slots these have. */
  slots: Set<number>;
  /** Places that are being taken down: their room comes free by itself. */
  givingWay: number;
  /** Since when each reservation waits for its room. */
  requests: Date[];
  /** What may be taken over in it; held by this transaction. */
  kept: KeptPlace[];
  /** Of driver and config: places with the same can be taken over. */
  fingerprint: string;
}

type Counts = Pick<ChosenEnvironment, 'held' | 'slots' | 'givingWay' | 'requests'>;

/** What a driver plans to make for a new lease. */
export interface PlannedPlace {
  readonly id: string;
  readonly facts: Record<string, unknown>;
  readonly host: string | null;
}

/** Resolves the environments of held runs and holds what decides about them. */
@Injectable()
export class ChosenEnvironments {
  constructor(
    private readonly em: EntityManager,
    private readonly environments: EnvironmentsService,
    private readonly drivers: DriverRegistry,
    private readonly places: BeginPlaces,
  ) {}

  /**
   * Each run's environment, `Local` being made where nothing was chosen: held against a change of its status, and one with
   * a capacity against anybody else who would give its room away.
   */
  async of(runs: GatedRun[]): Promise<Map<string, ChosenEnvironment>> {
    if (runs.length === 0) return new Map();
    const unchosen = [...new Set(runs.filter((run) => !run.environment_id).map((run) => run.company_id))];
    const locals =
      unchosen.length > 0 ? await this.environments.ensureLocal(unchosen) : new Map<string, { id: string }>();
    const idOf = (run: GatedRun) => run.environment_id ?? locals.get(run.company_id)!.id;
    const others = runs.filter((run) => run.unlimited === null);
    const limited = others.filter((run) => run.environment_capacity !== null).map(idOf);
    const unlimited = new Map(
      runs.flatMap((run) => (run.unlimited ? [[run.unlimited.id, run.unlimited] as const] : [])),
    );
    const [held, chosen] = await answers([
      this.hold([...new Set(others.map(idOf))], limited),
      this.chosen([...unlimited.values()]),
    ]);
    return new Map(runs.map((run) => [run.id, (run.unlimited ? chosen : held).get(idOf(run))!]));
  }

  /**
   * Holds environments by id.
   * @param limited those of them that may have a capacity.
   */
  async hold(ids: string[], limited: string[] = ids): Promise<Map<string, ChosenEnvironment>> {
    if (ids.length === 0) return new Map();
    const [locked, counts, rows] = await answers([
      this.lockLimited(limited),
      this.count(limited),
      this.em.execute<HeldEnvironment[]>(
        `select ${HELD_ENVIRONMENT} from environments where id = any(?::uuid[]) order by id for share`,
        [`{${ids.join(',')}}`],
      ),
    ]);
    return this.chosen(rows, locked, counts);
  }

  private async chosen(
    held: readonly HeldEnvironment[],
    locked: ReadonlySet<string> = new Set(),
    counts: ReadonlyMap<string, Counts> = new Map(),
  ): Promise<Map<string, ChosenEnvironment>> {
    const kept = await this.keptIn(held);
    const countsOf = (id: string) => (locked.has(id) ? counts.get(id) : undefined);
    return new Map(
      held.map(({ env_vars: envVars, lease_policy: leasePolicy, ...row }): [string, ChosenEnvironment] => [
        row.id,
        {
          ...row,
          envVars,
          leasePolicy,
          counted: row.capacity === null || locked.has(row.id),
          ...(countsOf(row.id) ?? { held: 0, slots: new Set<number>(), givingWay: 0, requests: [] }),
          kept: kept.filter((place) => place.environmentId === row.id),
          fingerprint: fingerprintOf(row),
        },
      ]),
    );
  }

  /** What the driver would make for a new lease there; null where it would leave nothing behind. */
  plan(environment: ChosenEnvironment, companyId: string): PlannedPlace | null {
    const placeId = newId();
    const plan = this.drivers.get(environment.driver).planPlace({ placeId, companyId, config: environment.config });
    return plan && { id: placeId, ...plan };
  }

  /** Before `for share`, which others could hold as well: two that both wanted more would wait for each other. */
  private async lockLimited(ids: string[]): Promise<Set<string>> {
    if (ids.length === 0) return new Set();
    const rows = await this.em.execute<{ id: string }[]>(
      `select id from environments where id = any(?::uuid[]) and capacity is not null order by id for no key update`,
      [`{${ids.join(',')}}`],
    );
    return new Set(rows.map(({ id }) => id));
  }

  /** A statement of its own: only a snapshot taken after the locks sees what their last holders did. */
  private async count(ids: string[]) {
    if (ids.length === 0) return new Map<string, Counts>();
    const rows = await this.em.execute<
      { id: string; held: number; slots: number[] | null; giving_way: number; requests: string[] | null }[]
    >(
      `select e.id, holding.held, holding.slots, waiting.requests,
         (select count(*)::integer from environment_places p
          where p.environment_id = e.id and p.state = 'cleaning' and p.parked_at is null) as giving_way
       from unnest(?::uuid[]) as e (id)
       cross join lateral (select count(*)::integer as held, array_agg(slot) filter (where slot is not null) as slots
         from environment_leases where environment_id = e.id and held_until is null) holding
       cross join lateral (select array_agg(created_at) as requests from lease_requests r
         where r.environment_id = e.id and r.company_id = (select company_id from environments where id = e.id)
           and ${waitsForRoom('r')}) waiting`,
      [`{${ids.join(',')}}`],
    );
    return new Map(
      rows.map(({ id, held, slots, giving_way: givingWay, requests }): [string, Counts] => [
        id,
        { held, slots: new Set(slots ?? []), givingWay, requests: (requests ?? []).map((at) => new Date(at)) },
      ]),
    );
  }

  /** Asked for only where a place may be kept, or may be in the way. */
  private async keptIn(environments: readonly HeldEnvironment[]): Promise<KeptPlace[]> {
    const ids = environments
      .filter(
        (one) => this.drivers.makesPlaces(one.driver) && (one.lease_policy !== 'ephemeral' || one.capacity !== null),
      )
      .map(({ id }) => id);
    return ids.length > 0 ? this.places.kept(ids) : [];
  }
}

const fingerprintOf = ({ driver, config }: { driver: string; config: Record<string, unknown> }) =>
  createHash('sha256')
    .update(JSON.stringify([driver, sorted(config)]))
    .digest('hex');

/** JSON whose keys were stored in any order, as one text. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.entries(value)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, inner]) => [key, sorted(inner)]);
}
