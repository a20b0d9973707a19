import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import type { LogStream } from './log-row.js';

/** How much of a log a reader is given at once unless it says otherwise, and at most. */
export const DEFAULT_LOG_BYTES = 256 * 1024;
export const MAX_LOG_BYTES = 1024 * 1024;
/** Rows looked at for one page; a run that writes tiny pieces has many. */
const MAX_ROWS = 1000;

/** Part of a run's log. */
export interface LogPage {
  /** Whole NDJSON lines `{ ts, stream, chunk }`, each ended by a line break; empty when there is nothing new. */
  readonly content: string;
  /** Where to read on: an offset in the output as it was written, kept or not. */
  readonly nextOffset: number;
}

/** As much of a run as its log depends on. */
interface WrittenRun {
  readonly id: string;
  readonly companyId: string;
  readonly finishedAt?: Date | null;
  /** How much it had written when it ended. */
  readonly logBytes: number;
}

interface StoredRow {
  stream_offset: string;
  stream: LogStream;
  written_at: string;
  content: Buffer;
}

/** Reads run logs, whoever wrote them. */
@Injectable()
export class RunLogReader {
  constructor(private readonly em: EntityManager) {}

  /**
   * Reads whole lines from an offset on, about `limitBytes` of them and at least one. Output that the cap left out
   * reads as one line of the stream `system`.
   */
  async read(runId: string, offset = 0, limitBytes = DEFAULT_LOG_BYTES): Promise<LogPage> {
    const limit = Math.min(limitBytes, MAX_LOG_BYTES);
    const lines: string[] = [];
    let size = 0;
    let position = offset;
    const push = (ts: string, stream: LogStream, chunk: string, next: number): boolean => {
      const line = `${JSON.stringify({ ts, stream, chunk })}\n`;
      size += Buffer.byteLength(line);
      if (lines.length > 0 && size > limit) return false;
      lines.push(line);
      position = next;
      return true;
    };
    for (const row of await this.rows(runId, offset, limit)) {
      const start = Number(row.stream_offset);
      const ts = new Date(row.written_at).toISOString();
      const missing = start - position;
      if (missing > 0 && !push(ts, 'system', `[${missing} bytes of output were left out here]\n`, start)) break;
      const chunk = row.content.subarray(position - start).toString('utf8');
      if (!push(ts, row.stream, chunk, start + row.content.length)) break;
    }
    return { content: lines.join(''), nextOffset: position };
  }

  /** Whether the run wrote something, and that has been removed since; it goes as a whole. */
  async isRemoved({ id, companyId, finishedAt, logBytes }: WrittenRun): Promise<boolean> {
    if (!finishedAt || logBytes === 0) return false;
    const rows = await this.em.execute(
      `select 1 from retention_horizons where company_id = ? and kind = 'runLogs' and complete_since > ?
         and not exists (select 1 from heartbeat_run_log_chunks where run_id = ?)`,
      [companyId, finishedAt, id],
    );
    return rows.length > 0;
  }

  /** The row that the offset lies in, and those after it, as far as their content stays within the limit. */
  private rows(runId: string, offset: number, limit: number): Promise<StoredRow[]> {
    return this.em.execute<StoredRow[]>(
      `select stream_offset, stream, written_at, content
       from (
         select *, sum(octet_length(content)) over (order by stream_offset) - octet_length(content) as before
         from (
           select * from heartbeat_run_log_chunks
           where run_id = ? and stream_offset + octet_length(content) > ? and stream_offset >= coalesce(
             (select max(stream_offset) from heartbeat_run_log_chunks where run_id = ? and stream_offset <= ?), 0)
           order by stream_offset limit ${MAX_ROWS}
         ) as page
       ) as sized
       where before < ? or before = 0
       order by stream_offset`,
      [runId, offset, runId, offset, limit],
    );
  }
}
