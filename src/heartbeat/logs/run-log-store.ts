import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { Coalescer } from '../../database/coalescer.js';
import { isConnectionLost } from '../../database/database-errors.js';
import { LeaseLostError } from '../../leases/lease-errors.js';
import { bytesOf, type LogBatch } from './log-buffer.js';
import { packed, storeRows } from './stored-rows.js';

/** Under which lease a run's log may be written. */
export interface LogHolder {
  readonly runId: string;
  readonly leaseId: string;
  readonly fencingToken: number;
}

interface Append {
  readonly holder: LogHolder;
  readonly batch: LogBatch;
}

/** A database that does not answer within this time is treated like one that hung up. */
const ANSWER_WITHIN_MS = 15_000;
/** Appends of several runs share a statement where each is at most this large, in bytes, and there are at most so many. */
const SHARED_BYTES = 32 * 1024;
const MOST_TOGETHER = 32;

/**
 * Locks runs, then their leases, against being ended meanwhile; without an active, unexpired lease of its token nothing of
 * a run is written.
 */
const append = (locked: '' | 'skip locked') => `
  with batch as materialized (
    select * from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::timestamptz[])
      as x (run_id, lease_id, fencing_token, drop_from, drop_to, log_bytes, last_output_at)
  ), run as materialized (
    select r.id from batch cross join lateral (
      select h.id from heartbeat_runs h where h.id = batch.run_id for no key update ${locked}) r
  ), held as materialized (
    select batch.run_id, batch.drop_from, batch.drop_to, batch.log_bytes, batch.last_output_at
    from batch cross join lateral (
      select l.id from environment_leases l
      where l.id = batch.lease_id and l.fencing_token = batch.fencing_token and l.active_run_id = batch.run_id
        and l.expires_at > clock_timestamp()
      for share ${locked}) l
    where batch.run_id = any(array(select id from run))
  ), dropped as (
    delete from heartbeat_run_log_chunks c using held
    where c.run_id = held.run_id and c.stream_offset >= held.drop_from and c.stream_offset < held.drop_to
  ), appended as (${storeRows('select run_id from held', '$8', '$9')}
  ), counted as (
    update heartbeat_runs r set log_bytes = greatest(r.log_bytes, held.log_bytes),
      last_output_at = greatest(r.last_output_at, held.last_output_at)
    from held where r.id = any(array(select run_id from held)) and r.id = held.run_id
  )
  select run_id from held`;
const ALONE = { name: 'append_run_log', text: append('') };
/** Waits for nobody: a run or lease that somebody holds must not keep the logs of others from being stored. */
const TOGETHER = { name: 'append_run_logs', text: append('skip locked') };

/** Writes run logs to the database. */
@Injectable()
export class RunLogStore {
  private readonly small = new Coalescer<Append, boolean>(
    (appends) => this.write(TOGETHER, appends),
    (error) => !isConnectionLost(error),
    { max: MOST_TOGETHER },
  );

  constructor(private readonly em: EntityManager) {}

  /**
   * Appends a batch in one statement, on a connection of its own; with those of other runs, where they are small.
   * Repeating it changes nothing.
   * @throws LeaseLostError when the lease is not held under this token any more.
   */
  async append(holder: LogHolder, batch: LogBatch): Promise<void> {
    const append = { holder, batch };
    if (bytesOf(batch) <= SHARED_BYTES && (await this.small.run(append))) return;
    const [isHeld] = await this.write(ALONE, [append]);
    if (!isHeld) throw new LeaseLostError(holder.leaseId);
  }

  /** @returns of each whether it was written. */
  private async write(statement: typeof ALONE, appends: readonly Append[]): Promise<boolean[]> {
    const of = <T>(value: (append: Append) => T) => appends.map(value);
    const { rows, content } = packed(of(({ holder: { runId }, batch }) => ({ runId, rows: batch.rows })));
    const pool = await this.em.getConnection().getNativeClient();
    const query = {
      ...statement,
      values: [
        ...[of(({ holder }) => holder.runId), of(({ holder }) => holder.leaseId)],
        ...[
          of(({ holder }) => holder.fencingToken),
          of(({ batch }) => batch.dropFrom),
          of(({ batch }) => batch.dropTo),
        ],
        ...[of(({ batch }) => batch.logBytes), of(({ batch }) => batch.lastOutputAt)],
        ...[content, rows],
      ],
      query_timeout: ANSWER_WITHIN_MS,
    };
    const answer = await pool.query<{ run_id: string }>(query);
    const held = new Set(answer.rows.map((row) => row.run_id));
    return of(({ holder }) => held.has(holder.runId));
  }
}
