export type LogStream = 'stdout' | 'stderr' | 'system';

/** A piece of output as it is stored: some bytes of one stream. */
export interface LogRow {
  /** How many bytes of output, kept or not, came before it. */
  readonly offset: number;
  readonly stream: LogStream;
  readonly at: Date;
  parts: Buffer[];
  bytes: number;
}

/** What a row takes in the database beyond its content; counted, so that many tiny rows are capped as well. */
export const ROW_OVERHEAD_BYTES = 64;

/** What keeping a row costs, in bytes. */
export const costOf = (row: LogRow): number => row.bytes + ROW_OVERHEAD_BYTES;
