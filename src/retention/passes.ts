import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';
import type { RetentionKind } from './retention-kind.js';

const MAX_ERROR_LENGTH = 500;

/** Notes what came of the last pass over each kind, for whoever asks. */
@Injectable()
export class Passes {
  constructor(private readonly em: EntityManager) {}

  async begin(kind: RetentionKind): Promise<void> {
    await this.em.fork().execute(
      `insert into retention_passes (kind, started_at) values (?, clock_timestamp())
       on conflict (kind) do update set started_at = excluded.started_at, finished_at = null, removed = 0, error = null`,
      [kind],
    );
  }

  /** @param error why not everything went that was due; null when it did. */
  async end(kind: RetentionKind, removed: number, error: string | null): Promise<void> {
    await this.em
      .fork()
      .execute(`update retention_passes set finished_at = clock_timestamp(), removed = ?, error = ? where kind = ?`, [
        removed,
        error?.slice(0, MAX_ERROR_LENGTH) ?? null,
        kind,
      ]);
  }
}
