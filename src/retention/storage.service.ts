import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';
import { BerthConfig } from '../config/config.js';
import { daysOf, DUE_REMOVALS } from './due-removals.js';
import { DUE_ROWS, type DueKind } from './due-statements.js';
import { SETTING_OF, type RetentionKind } from './retention-kind.js';
import { STORED, type Stored, type StoredKind } from './stored-kinds.js';

/** What is due is counted up to here. */
export const MOST_DUE = 1000;

/** Rows that are due, and the time of the oldest of them. */
export interface Due {
  readonly rows: number;
  /** Whether there are more than were counted. */
  readonly more: boolean;
  readonly oldest: Date | null;
}

/** What came of the last pass over a kind. */
export interface Pass {
  readonly startedAt: Date;
  readonly finishedAt: Date | null;
  readonly removed: number;
  readonly error: string | null;
}

/** How much there is of one kind of thing, and how long it stays. */
export interface StorageOfKind {
  readonly kind: StoredKind;
  readonly table: string;
  /** As the last vacuum or analyze took it; null before the first. */
  readonly estimatedRows: number | null;
  /** With indexes and what is stored out of line. */
  readonly bytes: number;
  readonly oldest: Date | null;
  readonly setting: string | null;
  /** Null for ever. */
  readonly days: number | null;
  /** How many companies have it otherwise. */
  readonly exceptions: number;
  readonly due: Due | null;
  readonly lastPass: Pass | null;
}

interface Sizes {
  rows: string;
  bytes: string;
}

/** Counts what is kept, at a cost that does not grow with it. */
@Injectable()
export class StorageService {
  constructor(
    private readonly em: EntityManager,
    private readonly config: BerthConfig,
  ) {}

  async read(): Promise<StorageOfKind[]> {
    const passes = await this.passes();
    const kinds = [];
    for (const stored of STORED) kinds.push(await this.ofKind(stored, passes));
    return kinds;
  }

  private async ofKind(stored: Stored, passes: ReadonlyMap<RetentionKind, Pass>): Promise<StorageOfKind> {
    const { kind, table, retention, due } = stored;
    const [{ rows, bytes }] = await this.em.execute<[Sizes]>(
      `select reltuples::bigint as rows, pg_total_relation_size(oid) as bytes from pg_class where oid = ?::regclass`,
      [table],
    );
    const [oldest] = stored.oldest === null ? [] : await this.em.execute<{ at: string | null }[]>(stored.oldest);
    return {
      kind,
      table,
      estimatedRows: Number(rows) < 0 ? null : Number(rows),
      bytes: Number(bytes),
      oldest: oldest?.at ? new Date(oldest.at) : null,
      ...(await this.settingOf(retention)),
      due: due === null ? null : await this.due(due),
      lastPass: (typeof retention === 'string' ? passes.get(retention) : null) ?? null,
    };
  }

  private async settingOf(
    retention: Stored['retention'],
  ): Promise<Pick<StorageOfKind, 'setting' | 'days' | 'exceptions'>> {
    if (typeof retention !== 'string') return { setting: null, days: retention, exceptions: 0 };
    const setting = SETTING_OF[retention];
    const [{ exceptions }] = await this.em.execute<[{ exceptions: number }]>(
      `select count(*)::integer as exceptions from companies where (retention ->> ?) is not null`,
      [setting],
    );
    return { setting, days: this.config.retention[setting] || null, exceptions };
  }

  private async due(kind: DueKind): Promise<Due> {
    const [row] = await this.em.execute<[{ rows: number; oldest: string | null }]>(
      `with due as materialized (${DUE_REMOVALS})
       select (select count(*) from (select 1 from due cross join lateral (${DUE_ROWS[kind](MOST_DUE)}) one
           limit ${MOST_DUE}) counted)::integer as rows,
         (select min(first.at) from due cross join lateral (${DUE_ROWS[kind](1)}) first) as oldest`,
      daysOf(this.config.retention),
    );
    return { rows: row.rows, more: row.rows === MOST_DUE, oldest: row.oldest === null ? null : new Date(row.oldest) };
  }

  private async passes(): Promise<Map<RetentionKind, Pass>> {
    const rows = await this.em.execute<
      { kind: RetentionKind; started_at: string; finished_at: string | null; removed: string; error: string | null }[]
    >('select kind, started_at, finished_at, removed, error from retention_passes');
    return new Map(
      rows.map(({ kind, started_at, finished_at, removed, error }) => [
        kind,
        {
          startedAt: new Date(started_at),
          finishedAt: finished_at === null ? null : new Date(finished_at),
          removed: Number(removed),
          error,
        },
      ]),
    );
  }
}
