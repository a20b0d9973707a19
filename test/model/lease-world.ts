import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type fc from 'fast-check';
import { jest } from '@jest/globals';
import { Pool } from 'pg';
import { v7 } from 'uuid';
import { DriverRegistry } from '../../src/environments/drivers/driver-registry.js';
import type { ClaimedRun } from '../../src/heartbeat/runs/claimed-run.js';
import { verifyRecord } from '../../src/activity/verify/verify-record.js';
import { ApiClient } from '../support/api-client.js';
import { anyDriverIsLocal } from '../support/fleet.js';
import { Interleaving } from '../support/interleaving.js';
import { Steps } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';
import { LEASE_INVARIANTS } from './lease-invariants.js';
import { Harbour, holds, type Berth, type Lease, type Place, type Waiter, type WaitingRun } from './lease-model.js';
import { newSetting, SPOTS, type Setting, type Spot } from './lease-setting.js';

/** What waits at the beginning. */
const FIRST_RUNS = 4;

/** As the database has it. */
export interface LeaseRow {
  id: string;
  environment_id: string;
  execution_workspace_id: string | null;
  slot: number | null;
  fencing_token: string;
  heartbeat_run_id: string | null;
  run_lease_id: string | null;
  place_id: string | null;
  status: Lease['status'];
  ttl_sec: number;
  expires_at: Date;
  lifetime_ends_at: Date;
  holds: boolean;
}

interface PlaceRow {
  id: string;
  state: Place['state'];
  lease_id: string;
}

/** One company with its environments, in the hands of several processes in which nothing happens by itself. */
export class LeaseWorld {
  readonly api: ApiClient;
  readonly steps: Steps[];
  /** Since the start. */
  readonly played = { scenarios: 0, steps: 0 };
  /** Runs that somebody executes, and those whose runner has died, or is taken to have. */
  executing: ClaimedRun[] = [];
  lost: ClaimedRun[] = [];
  private setting!: Setting;
  private issues = 0;
  private scheduler!: fc.Scheduler;

  private constructor(
    readonly apps: TestApp[],
    private readonly pool: Pool,
    private readonly root: string,
  ) {
    this.api = new ApiClient(apps[0].url);
    this.steps = apps.map((app) => new Steps(app));
  }

  static async of(apps: TestApp[]): Promise<LeaseWorld> {
    anyDriverIsLocal(...apps);
    for (const app of apps) jest.spyOn(app.get(DriverRegistry), 'makesPlaces').mockReturnValue(true);
    const pool = new Pool({ connectionString: apps[0].database.url, max: 4 });
    return new LeaseWorld(apps, pool, await mkdtemp(path.join(tmpdir(), 'berth-places-')));
  }

  get companyId(): string {
    return this.setting.companyId;
  }

  get spots(): readonly Spot[] {
    return this.setting.spots;
  }

  /** Begins anew. @param scheduler who goes on next, where several act at once. */
  async reset(scheduler: fc.Scheduler): Promise<Harbour> {
    this.played.scenarios += 1;
    this.scheduler = scheduler;
    [this.executing, this.lost, this.issues] = [[], [], 0];
    const { setting, statement } = newSetting(this.root);
    this.setting = setting;
    await this.query('truncate companies, activity_rows, idempotency_keys cascade');
    await this.query(...statement);
    const model = new Harbour(setting.berths);
    for (let run = 0; run < FIRST_RUNS; run++) await this.wake(run, this.spots[run % SPOTS]);
    await this.look(model);
    return model;
  }

  async query<Row>(sql: string, parameters: unknown[] = []): Promise<Row[]> {
    return (await this.pool.query(sql, parameters)).rows as Row[];
  }

  /** A new issue there, so that its run goes there; @returns the wake's answer. */
  async wake(agent: number, { environmentId, workspace }: Spot): Promise<number> {
    const [id, number] = [v7(), ++this.issues];
    await this.query(
      `insert into issues (id, company_id, number, identifier, title, environment_id, execution_workspace_id)
       values ($1, $2, $3, $4, 'Fix the anchor', $5, $6)`,
      [id, this.setting.companyId, number, `BER-${number}`, environmentId, workspace?.id ?? null],
    );
    const path = `/agents/${this.setting.agents[agent % this.setting.agents.length]}/wakeup`;
    return (await this.api.post(path, { payload: { issueId: id } })).status;
  }

  /** What the model does not keep itself: who waits. Whoever stands in the line still does. */
  private async look(model: Harbour): Promise<void> {
    await this.query('update lease_requests set seen_at = clock_timestamp()');
    const line = await this.query<Waiting>(
      `select id, environment_id, execution_workspace_id, created_at as since, null as retry_of_run_id from lease_requests`,
    );
    model.line = line.map((row) => this.wanted(row) satisfies Waiter);
    const runs = await this.query<Waiting>(
      `select r.id, coalesce(w.environment_id, i.environment_id) as environment_id, i.execution_workspace_id,
         r.due_at as since, r.retry_of_run_id
       from heartbeat_runs r join issues i on i.id = r.issue_id
       left join execution_workspaces w on w.id = i.execution_workspace_id
       where r.status in ('queued', 'scheduled_retry') and r.due_at <= clock_timestamp()`,
    );
    model.waiting = runs.map((row) => this.wanted(row) satisfies WaitingRun);
  }

  async row(leaseId: string): Promise<LeaseRow> {
    const [row] = await this.query<LeaseRow>(`${LEASES} where id = $1`, [leaseId]);
    return row;
  }

  /** The lease as it was acquired, as the model keeps it. */
  leaseOf(model: Harbour, row: LeaseRow): Lease {
    const first = row.run_lease_id && row.run_lease_id !== row.id ? model.lease(row.run_lease_id) : null;
    const workspace = this.workspace(row.execution_workspace_id);
    const lease: Omit<Lease, 'place'> & { place: Place | null } = {
      ...{ id: row.id, environmentId: row.environment_id, workspace, slot: row.slot, token: Number(row.fencing_token) },
      ...{ runId: row.heartbeat_run_id, first, ttlMs: row.ttl_sec * 1000, place: null, status: 'active' },
      expiresAt: row.expires_at.getTime(),
      lifetimeEndsAt: row.lifetime_ends_at.getTime(),
      revokeAt: Infinity,
    };
    if (row.place_id) lease.place = { id: row.place_id, state: 'realising', holder: lease };
    return lease;
  }

  /** Moves all that has been, and all that is to be, as far as leases are concerned. @param sec may be negative. */
  async pass(sec: number): Promise<void> {
    const back = `make_interval(secs => ${sec})`;
    const leases = await this.query<{ id: string }>(
      `select id from environment_leases order by acquired_at ${sec > 0 ? '' : 'desc'}, fencing_token ${sec > 0 ? '' : 'desc'}`,
    );
    const sets = LEASE_TIMES.map((column) => `${column} = ${column} - ${back}`).join(', ');
    // One after the other: two neighbours must not overlap meanwhile.
    for (const { id } of leases) await this.query(`update environment_leases set ${sets} where id = $1`, [id]);
    for (const [table, columns] of Object.entries(OTHER_TIMES)) {
      await this.query(`update ${table} set ${columns.map((column) => `${column} = ${column} - ${back}`).join(', ')}`);
    }
  }

  /** Several act at once, one statement at a time. */
  together<T>(works: (() => Promise<T>)[]): Promise<T[]> {
    return new Interleaving(this.scheduler, this.pool).run(works);
  }

  places(): Promise<PlaceRow[]> {
    return this.query<PlaceRow>('select id, state, lease_id from environment_places');
  }

  /** @throws Error that names everything that does not hold, or is not as the model says. */
  async check(model: Harbour): Promise<void> {
    const places = new Map((await this.places()).map((place) => [place.id, place]));
    for (const { place } of model.leases) {
      if (place?.state === 'warm' && places.get(place.id)?.state === 'cleaning' && model.mayGiveWay(place))
        place.state = 'cleaning';
    }
    model.isCrowded = false;
    const found = await this.query<{ rule: string; id: string; detail: string }>(
      Object.entries(LEASE_INVARIANTS)
        .map(([rule, sql]) => `select '${rule}' as rule, * from (${sql}) as x(id, detail)`)
        .join(' union all '),
    );
    const problems = found.map(({ rule, id, detail }) => `${rule}: ${id} (${detail})`);
    const rows = new Map((await this.query<LeaseRow>(LEASES)).map((row) => [row.id, row]));
    for (const lease of model.leases) problems.push(...differences(lease, rows.get(lease.id), places));
    problems.push(...(await this.changed(model.berths)));
    for (const id of rows.keys()) if (!model.lease(id)) problems.push(`${id} is a lease that nobody acquired`);
    if (problems.length > 0) throw new Error(problems.join('\n'));
    await this.look(model);
  }

  /** How the environments are not as the model has them. */
  private async changed(berths: Berth[]): Promise<string[]> {
    const rows = await this.query<Berth>('select id, capacity, status from environments');
    return berths.flatMap(({ id, name, capacity, status }) =>
      rows.some((row) => row.id === id && row.capacity === capacity && row.status === status)
        ? []
        : [`${name} is not ${status} with a capacity of ${capacity}`],
    );
  }

  /** @throws Error when record and tables disagree. */
  async verify(): Promise<void> {
    const results = await verifyRecord(this.apps[0].database.url, 30);
    const wrong = results.filter(({ name, found }) => found > 0 && !LAID_OUT.test(name));
    if (wrong.length > 0) throw new Error(JSON.stringify(wrong, null, 1));
  }

  async close(): Promise<void> {
    await this.pool.end();
    await rm(this.root, { recursive: true, force: true });
    jest.restoreAllMocks();
  }

  private workspace(id: string | null): Spot['workspace'] {
    return this.spots.find(({ workspace }) => workspace?.id === id)?.workspace ?? null;
  }

  private wanted({ id, environment_id, execution_workspace_id, since, retry_of_run_id }: Waiting) {
    const workspace = this.workspace(execution_workspace_id);
    return { id, environmentId: environment_id, workspace, since: since.getTime(), retryOf: retry_of_run_id };
  }
}

interface Waiting {
  id: string;
  environment_id: string;
  execution_workspace_id: string | null;
  since: Date;
  retry_of_run_id: string | null;
}

/** What a world begins with, of which there is no record. */
const LAID_OUT = /^(companies|environments|execution_workspaces|agents|issues)_as_recorded$/;
const LEASES = 'select *, held_until is null as holds from environment_leases';
const LEASE_TIMES = [
  ...['acquired_at', 'last_used_at', 'expires_at', 'lifetime_ends_at', 'released_at', 'held_until', 'revoke_at'],
];
const OTHER_TIMES = {
  environment_places: ['realise_deadline_at', 'keep_until', 'next_attempt_at', 'gone_at'],
  heartbeat_runs: ['due_at', 'scheduled_retry_at', 'cancel_at', 'cancel_requested_at'],
  lease_requests: ['created_at', 'give_up_at'],
};

function differences(lease: Lease, row: LeaseRow | undefined, places: Map<string, PlaceRow>): string[] {
  const say = (what: string, is: unknown, shall: unknown) =>
    is === shall ? [] : [`${lease.id}: ${what} ${String(is)}, not ${String(shall)}`];
  const place = lease.place && places.get(lease.place.id);
  return [
    ...say('status', row?.status, lease.status),
    ...say('holds', row?.holds, holds(lease)),
    ...(lease.place?.holder === lease ? say('place', place?.state, lease.place.state) : []),
    ...(lease.place?.holder === lease ? say('holder of the place', place?.lease_id, lease.id) : []),
  ];
}
