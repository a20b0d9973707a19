import type { RetentionDays } from '../../src/config/config.js';
import type { TestDatabase } from './test-database.js';

const DAY_MS = 24 * 60 * 60 * 1000;
const KEPT_OF_AN_AGENT = 6;

interface Run {
  id: string;
  company_id: string;
  agent_id: string;
  finished_at: Date | null;
  retry_of_run_id: string | null;
}
interface Lease {
  id: string;
  company_id: string;
  heartbeat_run_id: string | null;
  held_until: Date | null;
  place_id: string | null;
}
interface Wake {
  id: string;
  company_id: string;
  run_id: string | null;
  finished_at: Date | null;
}
interface Rows {
  runs: Run[];
  leases: Lease[];
  places: { id: string; lease_id: string }[];
  wakes: Wake[];
  logs: { id: string }[];
  entries: { seq: string; company_id: string; created_at: Date }[];
}

/** What there is, by ids in their order. */
type Present = Record<keyof Rows, string[]>;

const QUERIES: Record<keyof Rows, string> = {
  runs: 'select id, company_id, agent_id, finished_at, retry_of_run_id from heartbeat_runs order by id',
  leases: 'select id, company_id, heartbeat_run_id, held_until, place_id from environment_leases order by id',
  places: 'select id, lease_id from environment_places order by id',
  wakes: 'select id, company_id, run_id, finished_at from agent_wakeup_requests order by id',
  logs: 'select distinct run_id as id from heartbeat_run_log_chunks order by 1',
  entries: `select seq, company_id, created_at from activity_log where action <> 'retention.removed' order by seq`,
};

/**
 * A history before anything was removed of it, and what of it has to remain: worked out here row by row, as the rules say
 * it, and not as the statements do.
 */
export class History {
  private readonly now = Date.now();
  private kept: Present | null = null;

  private constructor(
    private readonly database: TestDatabase,
    private readonly rows: Rows,
    private readonly days: ReadonlyMap<string, RetentionDays>,
  ) {}

  /** @param retries how many of its runs are made the retry of the agent's run before. */
  static async of(database: TestDatabase, defaults: RetentionDays, { retries }: { retries: number }): Promise<History> {
    await database.query(
      `with pair as (
         select id, lag(id) over (partition by agent_id order by id) as former from heartbeat_runs
         where finished_at is not null),
       chosen as (select * from pair where former is not null order by md5(id::text) limit $1)
       update heartbeat_runs r set retry_of_run_id = chosen.former from chosen where r.id = chosen.id`,
      [retries],
    );
    const companies = await database.query<{ id: string; retention: Partial<RetentionDays> }>(
      'select id, retention from companies',
    );
    const days = new Map(companies.map(({ id, retention }) => [id, { ...defaults, ...retention }]));
    return new History(database, await read(database), days);
  }

  get size(): Record<keyof Rows, number> {
    const { runs, leases, places, wakes, logs, entries } = this.rows;
    return {
      runs: runs.length,
      leases: leases.length,
      places: places.length,
      wakes: wakes.length,
      logs: logs.length,
      entries: entries.length,
    };
  }

  /** The beginning of the day that many days ago. */
  cutoff(days: number): Date {
    return new Date(Math.floor(this.now / DAY_MS) * DAY_MS - days * DAY_MS);
  }

  async present(): Promise<Present> {
    return idsOf(await read(this.database));
  }

  remaining(): Present {
    return (this.kept ??= this.workOut());
  }

  /** How many rows had to go, as the record counts them. */
  removed(): Record<string, number> {
    return this.missing(this.remaining());
  }

  /** How many rows are not there any more, as the record counts them. */
  missing(after: Present): Record<string, number> {
    const before = this.size;
    const gone = (kind: keyof Rows) => before[kind] - after[kind].length;
    return {
      ...{ runs: gone('runs'), leases: gone('leases'), places: gone('places'), wakes: gone('wakes') },
      ...{ runLogs: gone('logs'), activity: gone('entries') },
    };
  }

  /** One that had to go. */
  goneRun(): string {
    const kept = new Set(this.remaining().runs);
    return this.rows.runs.find(({ id }) => !kept.has(id))!.id;
  }

  private workOut(): Present {
    const runs = this.remainingRuns();
    const leases = this.rows.leases.filter(({ heartbeat_run_id: run, ...lease }) =>
      run === null ? !this.isOver(lease.company_id, 'runDays', lease.held_until) : runs.has(run),
    );
    const heldBy = new Set(leases.map(({ id }) => id));
    const wakes = this.rows.wakes.filter(({ run_id: run, company_id, finished_at }) =>
      run === null ? !this.isOver(company_id, 'runDays', finished_at) : runs.has(run),
    );
    const logs = this.rows.logs.filter(({ id }) => {
      const run = runs.get(id);
      return run !== undefined && !this.isOver(run.company_id, 'runLogDays', run.finished_at);
    });
    const places = this.rows.places.filter(({ lease_id }) => heldBy.has(lease_id));
    const entries = this.rows.entries.filter(
      ({ company_id, created_at }) => !this.isOver(company_id, 'activityDays', created_at),
    );
    return idsOf({ runs: [...runs.values()], leases, places, wakes, logs, entries });
  }

  /** Takes out one after the other until none can go. */
  private remainingRuns(): Map<string, Run> {
    const left = new Map(this.rows.runs.map((run) => [run.id, run]));
    const ofAgent = (run: Run) => this.rows.runs.filter(({ agent_id }) => agent_id === run.agent_id);
    const mayGo = (run: Run) =>
      this.isOver(run.company_id, 'runDays', run.finished_at) &&
      ![...left.values()].some(({ retry_of_run_id }) => retry_of_run_id === run.id) &&
      ofAgent(run).filter(({ id, finished_at }) => id > run.id && finished_at !== null).length >= KEPT_OF_AN_AGENT &&
      this.rows.leases
        .filter(({ heartbeat_run_id }) => heartbeat_run_id === run.id)
        .every(({ held_until }) => this.isOver(run.company_id, 'runDays', held_until));
    for (let gone = 1; gone > 0;) {
      const going = [...left.values()].filter(mayGo);
      for (const { id } of going) left.delete(id);
      gone = going.length;
    }
    return left;
  }

  private isOver(companyId: string, setting: keyof RetentionDays, ended: Date | null): boolean {
    const days = this.days.get(companyId)![setting];
    return days > 0 && ended !== null && ended < this.cutoff(days);
  }
}

async function read(database: TestDatabase): Promise<Rows> {
  const found = await Promise.all(
    Object.entries(QUERIES).map(async ([kind, query]) => [kind, await database.query(query)] as const),
  );
  return Object.fromEntries(found) as unknown as Rows;
}

const idsOf = ({ runs, leases, places, wakes, logs, entries }: Rows): Present => ({
  runs: runs.map(({ id }) => id),
  leases: leases.map(({ id }) => id),
  places: places.map(({ id }) => id),
  wakes: wakes.map(({ id }) => id),
  logs: logs.map(({ id }) => id),
  entries: entries.map(({ seq }) => seq),
});
