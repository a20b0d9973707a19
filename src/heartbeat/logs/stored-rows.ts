import type { LogRow } from './log-row.js';

/** Some rows of a run's log. */
interface Rows {
  readonly runId: string;
  readonly rows: readonly LogRow[];
}

/** Rows as two values: what each is, as JSON, and the content of all of them, which would double in size one by one. */
export function packed(of: readonly Rows[]): { rows: string; content: Buffer } {
  let start = 1; // positions in SQL count from 1
  const rows = of.flatMap(({ runId, rows }) =>
    rows.map(({ offset, stream, at, bytes }) => ({
      runId,
      offset,
      stream,
      at,
      start: (start += bytes) - bytes,
      bytes,
    })),
  );
  return {
    rows: JSON.stringify(rows),
    content: Buffer.concat(of.flatMap(({ rows }) => rows.flatMap(({ parts }) => parts))),
  };
}

/**
 * The statement that stores packed rows of some runs, for a `with` clause. Repeating it changes nothing.
 * @param runs a query of the ids of runs whose rows may be stored.
 * @param content where the packed content stands in the statement: `$8`, say.
 * @param rows where the rows do.
 */
export const storeRows = (runs: string, content: string, rows: string): string => `
  insert into heartbeat_run_log_chunks (run_id, stream_offset, stream, written_at, content)
  select piece."runId", piece."offset", piece.stream, piece.at, substring(${content}::bytea from piece.start for piece.bytes)
  from jsonb_to_recordset(${rows}::jsonb)
    as piece ("runId" uuid, "offset" bigint, stream text, at timestamptz, start integer, bytes integer)
  where piece."runId" = any(array(${runs}))
  on conflict (run_id, stream_offset) do nothing`;
