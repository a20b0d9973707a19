import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';
import type { ActivityResponse } from './activity.dto.js';
import {
  BEFORE_EVERYTHING,
  CursorOfAnotherHistoryError,
  cutAfter,
  EntriesRemovedError,
  newestIn,
  type StreamCursor,
} from './stream-cursor.js';

/** Most entries that one read delivers. */
export const STREAM_PAGE = 200;

/** One entry, and the cursor of a reader that has seen it. */
export interface StreamedEntry {
  readonly entry: ActivityResponse;
  readonly cursor: StreamCursor;
  /** How old it was when it was read, by the database's clock, in seconds. */
  readonly ageSec: number;
}

interface Row extends Omit<ActivityResponse, 'createdAt'> {
  created_at: string;
  age_sec: number;
  until: string;
  tx: string;
  seq: string;
}

/**
 * What became visible after the snapshot that a reader has seen, in the order of (tx, seq). It neither misses a
 * transaction that commits after one with a higher number, nor waits for one that is still open.
 */
const NEWLY_VISIBLE = `
  with page as materialized (select coalesce(?::pg_snapshot, pg_current_snapshot()) until)
  select page.until::text, a.*
  from page left join lateral (
    select id, seq::text, tx::text, company_id "companyId", actor_type "actorType", actor_id "actorId", action,
      entity_type "entityType", entity_id "entityId", agent_id "agentId", run_id "runId", details, created_at,
      extract(epoch from clock_timestamp() - created_at)::float8 age_sec
    from activity_log
    where company_id = ?
      and tx >= pg_snapshot_xmin(?::pg_snapshot) and not pg_visible_in_snapshot(tx, ?::pg_snapshot)
      and pg_visible_in_snapshot(tx, page.until)
      and (tx, row_seq) >= (?::xid8, ?::bigint) and (tx, seq) > (?::xid8, ?::bigint)
    order by activity_log.tx, row_seq, activity_log.seq limit ?) a on true
  order by a.tx::xid8, a.seq::bigint`;

/** Reads the record in the order in which it became visible. */
@Injectable()
export class StreamReader {
  constructor(private readonly em: EntityManager) {}

  /**
   * A cursor at which everything of a company so far, or nothing, has been seen. Its newest transaction is among those
   * whose entries are the newest.
   */
  async cursorAt(from: 'now' | 'start', companyId: string): Promise<StreamCursor> {
    const [history] = await this.em.fork().execute<{ epoch: string; now: string; newest: string | null }[]>(
      `select epoch, pg_current_snapshot()::text as now,
         (select max(tx)::text from (select tx from activity_rows where company_id = any(array[?::uuid])
          order by company_id desc, created_at desc, seq desc limit ?) last) as newest
       from instance`,
      [companyId, STREAM_PAGE],
    );
    const { epoch, now, newest } = found(history);
    return { epoch, seen: from === 'now' ? cutAfter(now, BigInt(newest ?? 0)) : BEFORE_EVERYTHING, page: null };
  }

  /**
   * Checks that a cursor belongs to the history that the database is in.
   * @throws CursorOfAnotherHistoryError
   */
  async verify(cursor: StreamCursor): Promise<void> {
    const { epoch, next } = await this.history();
    const newest = (cursor.page?.until ?? cursor.seen).split(':')[1] ?? '';
    // A snapshot from the future was taken before a restore that kept the epoch.
    if (cursor.epoch !== epoch || BigInt(newest) > BigInt(next)) throw new CursorOfAnotherHistoryError();
  }

  /**
   * Checks that everything is still there that a company's reader has not seen. A number from the future is from before a
   * restore, and says nothing.
   * @throws EntriesRemovedError
   */
  async verifyComplete(companyId: string, { seen, page }: StreamCursor): Promise<void> {
    // From the start means from what is there.
    if (seen === BEFORE_EVERYTHING && !page) return;
    const removed = await this.em.fork().execute(
      `select 1 from retention_horizons where company_id = ? and kind = 'activity'
         and through_tx >= ?::xid8 and through_tx < pg_snapshot_xmax(pg_current_snapshot())
         and not pg_visible_in_snapshot(through_tx, ?::pg_snapshot)`,
      [companyId, page?.tx ?? '0', seen],
    );
    if (removed.length > 0) throw new EntriesRemovedError();
  }

  /** The next entries after a cursor, at most a page of them, and the cursor after these. */
  async read(companyId: string, cursor: StreamCursor): Promise<{ entries: StreamedEntry[]; cursor: StreamCursor }> {
    const { epoch, seen, page } = cursor;
    const after = [page?.tx ?? '0', page?.seq ?? '0'];
    const rows = await this.em
      .fork()
      .execute<Row[]>(NEWLY_VISIBLE, [page?.until ?? null, companyId, seen, seen, ...after, ...after, STREAM_PAGE]);
    const until = rows[0]?.until ?? seen;
    const entries = rows
      .filter(({ id }) => id !== null)
      .map((row) => ({
        entry: toResponse(row),
        cursor: { epoch, seen, page: { until, tx: row.tx, seq: row.seq } },
        ageSec: row.age_sec,
      }));
    const last = entries.at(-1);
    if (last && entries.length === STREAM_PAGE) return { entries, cursor: last.cursor };
    // A page that is not full ends what became visible until its snapshot.
    const newest = [newestIn(seen), BigInt(page?.tx ?? 0), BigInt(last?.cursor.page?.tx ?? 0)];
    const known = newest.reduce((one, other) => (one > other ? one : other));
    return { entries, cursor: { epoch, seen: cutAfter(until, known), page: null } };
  }

  private async history(): Promise<{ epoch: string; next: string }> {
    const [history] = await this.em
      .fork()
      .execute<{ epoch: string; next: string }[]>(
        `select epoch, pg_snapshot_xmax(pg_current_snapshot())::text next from instance`,
      );
    return found(history);
  }
}

function found<T>(history: T | undefined): T {
  if (!history) throw new Error('The database has lost the row that names its history');
  return history;
}

function toResponse({ created_at, age_sec: _age, until: _until, tx: _tx, seq: _seq, ...entry }: Row): ActivityResponse {
  return { ...entry, createdAt: new Date(created_at) };
}
