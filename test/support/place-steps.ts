import type { ClaimedRun } from '../../src/heartbeat/runs/claimed-run.js';
import type { RunOutcome } from '../../src/heartbeat/runs/run-outcome.js';
import { PlaceSweeper } from '../../src/leases/places/place-sweeper.js';
import { SettlePlaces } from '../../src/leases/places/settle-places.js';
import { Berths } from './places.js';
import { outcome, Steps } from './still-app.js';
import type { TestApp } from './test-app.js';

/** A place's row, as far as tests look at it. */
export interface PlaceRow {
  id: string;
  state: string;
  lease_id: string;
  attempts: number;
  last_error: string | null;
  parked_at: Date | null;
  realise_deadline_at: Date;
  /** From now on, in seconds. */
  next_attempt_sec: number | null;
}

/** Takes places from state to state in a still application. No driver makes anything. */
export class PlaceSteps {
  readonly steps: Steps;

  private constructor(
    private readonly app: TestApp,
    readonly berths: Berths,
    private readonly agentId: string,
  ) {
    this.steps = new Steps(app);
  }

  static async in(app: TestApp, environment: object = {}): Promise<PlaceSteps> {
    const berths = await Berths.in(app.url, environment);
    return new PlaceSteps(app, berths, await berths.agent('true'));
  }

  /** A run that has just been claimed: its place is to be made. */
  async claimed(): Promise<ClaimedRun> {
    await this.berths.user.wake(this.agentId, { payload: { taskKey: crypto.randomUUID() } });
    return this.steps.started();
  }

  ready({ place, lease }: ClaimedRun): Promise<boolean> {
    return this.app.get(SettlePlaces).ready(place!.id, lease, place!.facts.directory as string);
  }

  /** The id of a place whose run has ended like this. */
  async left(how: RunOutcome = outcome.succeeded()): Promise<string> {
    const run = await this.claimed();
    await this.ready(run);
    await this.steps.end(run, how);
    return run.place!.id;
  }

  /** One pass of the sweeper, and all that it began. */
  async sweep(): Promise<void> {
    await this.app.get(PlaceSweeper).sweep();
    await this.app.get(PlaceSweeper).settled();
  }

  async row(placeId: string): Promise<PlaceRow> {
    const [row] = await this.app.database.query<PlaceRow>(
      `select *, extract(epoch from next_attempt_at - clock_timestamp())::float8 as next_attempt_sec
       from environment_places where id = $1`,
      [placeId],
    );
    return row;
  }

  /** Time goes on until the place is to be attempted again. */
  async due(placeId: string): Promise<void> {
    await this.set(placeId, `next_attempt_at = now() - interval '1 s'`);
  }

  async set(placeId: string, assignments: string): Promise<void> {
    await this.app.database.query(`update environment_places set ${assignments} where id = $1`, [placeId]);
  }

  /** Whether the lease that has the place holds its environment. */
  async isHeld(placeId: string): Promise<boolean> {
    const [row] = await this.app.database.query<{ held: boolean }>(
      `select l.held_until is null as held from environment_places p join environment_leases l on l.id = p.lease_id
       where p.id = $1`,
      [placeId],
    );
    return row.held;
  }
}
