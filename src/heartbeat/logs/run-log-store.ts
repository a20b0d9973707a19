import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { LeaseLostError } from '../../leases/lease-errors.js';
import type { LogBatch } from './log-buffer.js';

/** Under which lease a run's log may be written. */
export interface LogHolder {
  readonly runId: string;
  readonly leaseId: string;
  readonly fencingToken: number;
}

/** A database that does not answer within this time is treated like one that hung up. */
const ANSWER_WITHIN_MS = 15_000;

/**
 * Locks the run, then its lease, against being ended meanwhile; without an active, unexpired lease of this token
 * nothing is written. Content travels as one value, cut to rows by the database: one by one it would double in size.
 */
const APPEND = `
  with run as materialized (select id from heartbeat_runs where id = $1 for no key update),
  held as materialized (
    select id from environment_leases
    where id = $2 and fencing_token = $3 and active_run_id = (select id from run) and expires_at > clock_timestamp()
    for share
  ), dropped as (
    delete from heartbeat_run_log_chunks
    where run_id = $1 and stream_offset >= $4::bigint and stream_offset < $5::bigint and exists (select from held)
  ), appended as (
    insert into heartbeat_run_log_chunks (run_id, stream_offset, stream, written_at, content)
    select $1, row.stream_offset, row.stream, row.written_at, substring($6::bytea from row.start for row.bytes)
    from unnest($7::bigint[], $8::text[], $9::timestamptz[], $10::integer[], $11::integer[])
      as row (stream_offset, stream, written_at, start, bytes)
    where exists (select from held)
    on conflict (run_id, stream_offset) do nothing
  ), counted as (
    update heartbeat_runs set log_bytes = greatest(log_bytes, $12::bigint),
      last_output_at = greatest(last_output_at, $13::timestamptz)
    where id = $1 and exists (select from held)
  )
  select exists (select from held) as held`;

/** Writes run logs to the database. */
@Injectable()
export class RunLogStore {
  constructor(private readonly em: EntityManager) {}

  /**
   * Appends a batch in one statement, on a connection of its own. Repeating it changes nothing.
   * @throws LeaseLostError when the lease is not held under this token any more.
   */
  async append({ runId, leaseId, fencingToken }: LogHolder, batch: LogBatch): Promise<void> {
    const { rows } = batch;
    const contents = rows.map(({ parts }) => (parts.length === 1 ? parts[0] : Buffer.concat(parts)));
    let start = 1; // positions in SQL count from 1
    const starts = rows.map(({ bytes }) => (start += bytes) - bytes);
    const pool = await this.em.getConnection().getNativeClient();
    const query = {
      text: APPEND,
      values: [
        ...[runId, leaseId, fencingToken, batch.dropFrom, batch.dropTo, Buffer.concat(contents)],
        ...[rows.map(({ offset }) => offset), rows.map(({ stream }) => stream), rows.map(({ at }) => at), starts],
        ...[rows.map(({ bytes }) => bytes), batch.logBytes, batch.lastOutputAt],
      ],
      query_timeout: ANSWER_WITHIN_MS,
    };
    const answer = await pool.query<{ held: boolean }>(query);
    if (!answer.rows[0]?.held) throw new LeaseLostError(leaseId);
  }
}
