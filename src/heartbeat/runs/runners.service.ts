import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { idFromCursor, MAX_PAGE, Page, type PageRequest } from '../../database/page.js';

/**
 * How a runner is: `live`; `draining`, because it was asked to stop; `stopped`; or `lost`, because it has not been heard
 * of for 15 seconds: killed, frozen, or cut off from the database.
 */
export const RUNNER_STATES = ['live', 'draining', 'stopped', 'lost'] as const;
export type RunnerState = (typeof RUNNER_STATES)[number];

/** A runner says every few seconds that it is there; one that has not for this long, in seconds, counts as lost. */
export const LOST_AFTER_SEC = 15;

/** One start of a process that executes runs. */
export interface RunnerRecord {
  readonly id: string;
  readonly host: string;
  readonly hostName: string;
  readonly pid: number;
  readonly slots: number;
  readonly running: number;
  readonly state: RunnerState;
  readonly version: string;
  readonly startedAt: Date;
  readonly lastSeenAt: Date;
  readonly drainingSince: Date | null;
  readonly stoppedAt: Date | null;
}

type Row = Record<'id' | 'host' | 'host_name' | 'version' | 'started_at' | 'last_seen_at', string> &
  Record<'draining_since' | 'stopped_at', string | null> &
  Record<'pid' | 'slots' | 'running', number> & { state: RunnerState };

/** Reads which processes execute runs, or did. */
@Injectable()
export class RunnersService {
  constructor(private readonly em: EntityManager) {}

  /** Newest first. What a runner holds is counted from the leases themselves. */
  async list({ limit = MAX_PAGE, cursor, state }: PageRequest & { state?: RunnerState }): Promise<Page<RunnerRecord>> {
    const rows = await this.em.execute<Row[]>(
      `with held as materialized (
         select jsonb_object_agg(runner_id, running) as running
         from (select runner_id, count(distinct heartbeat_run_id) as running from environment_leases
           where status = 'active' and runner_id is not null group by runner_id) by_runner)
       select r.*, coalesce((select running -> r.id::text from held)::integer, 0) as running
       from (select *, case when stopped_at is not null then 'stopped'
           when last_seen_at < clock_timestamp() - make_interval(secs => ?) then 'lost'
           when draining_since is not null then 'draining' else 'live' end as state from runners) r
       where r.state = coalesce(?, r.state) and r.id < coalesce(?::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
       order by r.id desc limit ?`,
      [LOST_AFTER_SEC, state ?? null, idFromCursor(cursor), limit + 1],
    );
    return Page.of(rows, limit, ({ id }) => id).map(recordOf);
  }
}

const timeOf = (time: string | null) => (time === null ? null : new Date(time));

const recordOf = (row: Row): RunnerRecord => ({
  id: row.id,
  host: row.host,
  hostName: row.host_name,
  pid: row.pid,
  slots: row.slots,
  running: row.running,
  state: row.state,
  version: row.version,
  startedAt: new Date(row.started_at),
  lastSeenAt: new Date(row.last_seen_at),
  drainingSince: timeOf(row.draining_since),
  stoppedAt: timeOf(row.stopped_at),
});
