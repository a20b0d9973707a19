import { ApiProperty } from '@nestjs/swagger';
import type { StorageOfKind } from './storage.service.js';
import { STORED_KINDS, type StoredKind } from './stored-kinds.js';

/** What has been kept for long enough and is still there. */
export class DueResponse {
  /** Of `runLogs` the runs; of leases and wakes those without a run: the others go with theirs. Counted up to 1000. */
  rows: number;
  /** Whether there are more than were counted. */
  more: boolean;
  oldest: Date | null;
}

/** The last pass that removed, or wanted to. */
export class RetentionPassResponse {
  startedAt: Date;
  /** Null while it goes on, and when its process died. */
  finishedAt: Date | null;
  /** How long it took, rests included, in milliseconds. */
  tookMs: number | null;
  /** Rows of all companies; of `runs` with everything that went with them. */
  removed: number;
  /** Why not everything went that was due. */
  error: string | null;
}

/** How much there is of one kind of thing, and how long it stays. */
export class StorageKindResponse {
  @ApiProperty({ enum: STORED_KINDS })
  kind: StoredKind;
  /** @example 'heartbeat_runs' */
  table: string;
  /** As PostgreSQL took it when it last vacuumed or analysed the table; null before the first time. */
  estimatedRows: number | null;
  /** With indexes, and with what is stored out of line. */
  bytes: number;
  /** Null where there is none; of `activityFolds` always. */
  oldest: Date | null;
  /**
   * The field of a company's `retention` that it follows; null where there is none.
   * @example 'runDays'
   */
  setting: string | null;
  /** For how many days it is kept where a company says nothing else; null for ever. */
  days: number | null;
  /** How many companies say something else. */
  exceptions: number;
  /** Null where it goes with something else, or stays. */
  due: DueResponse | null;
  /** Null before the first. */
  lastPass: RetentionPassResponse | null;
}

/** What is kept. */
export class StorageResponse {
  kinds: StorageKindResponse[];

  static from(kinds: StorageOfKind[]): StorageResponse {
    return {
      kinds: kinds.map(({ lastPass, due, ...kind }) => ({
        ...kind,
        due: due && { ...due },
        lastPass: lastPass && {
          ...lastPass,
          tookMs: lastPass.finishedAt && lastPass.finishedAt.getTime() - lastPass.startedAt.getTime(),
        },
      })),
    };
  }
}
