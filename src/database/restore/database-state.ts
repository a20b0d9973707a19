import type { EntityManager } from '@mikro-orm/postgresql';

/** What tells one database, and one moment of its history, from another. What a role may not read is null. */
export interface DatabaseState {
  /** Names the history: renewed whenever the database turns out to have been restored. */
  readonly epoch: string;
  /** Of the PostgreSQL cluster, made by `initdb`. A decimal that is too large for a JSON number. */
  readonly systemIdentifier: string | null;
  /** Begins anew when a backup is recovered to a point in time, and when a standby takes over. */
  readonly timeline: number | null;
  /** Of the database in its cluster: another one when it was made anew from a dump. */
  readonly databaseOid: string;
  /** How much write-ahead log is safely on disk, in bytes since the beginning: it never goes back by itself. */
  readonly walPosition: number | null;
  /** The highest fencing token that may have been given out. A crash cannot take it back. */
  readonly highestToken: number;
  /** The token that was drawn last, given out or not; 0 before the first. */
  readonly lastToken: number;
  readonly quarantine: QuarantineState | null;
  /** The database that the operator said was restored: see `nameOf`. */
  readonly restoredAs: string | null;
}

/** Since when, and why, nothing is reaped or taken down. */
export interface QuarantineState {
  readonly since: Date;
  readonly reason: string;
}

interface Row extends Omit<DatabaseState, 'highestToken' | 'lastToken' | 'walPosition' | 'quarantine'> {
  highestToken: string;
  lastToken: string;
  walPosition: string | null;
  quarantinedAt: string | null;
  quarantineReason: string | null;
}

/** Which of PostgreSQL's facts about itself the role may read: not every provider lets everybody. */
export interface ReadableFacts {
  readonly control: boolean;
  readonly wal: boolean;
}

export async function readableFacts(em: EntityManager): Promise<ReadableFacts> {
  const may = (name: string) => `coalesce(has_function_privilege(to_regprocedure('${name}')::oid, 'execute'), false)`;
  const [facts] = await em.execute<ReadableFacts[]>(
    `select ${may('pg_control_system()')} as control,
       ${may('pg_current_wal_flush_lsn()')} and ${may('pg_walfile_name(pg_lsn)')} as wal`,
  );
  return facts;
}

const NEWEST_LEASES = 100;

/**
 * Reads the state as of now. The timeline is that of the log being written: the control file names a new one only after
 * the next checkpoint. The highest token is that of a committed lease, not the sequence's value: a crash can take back
 * tokens that nobody has got. It is looked for among the newest ids, which rise with tokens as far as hosts' clocks agree:
 * an index that knew the tokens of all leases would be written with each of them.
 */
export async function readState(em: EntityManager, { control, wal }: ReadableFacts): Promise<DatabaseState> {
  const [row] = await em.execute<Row[]>(
    `select instance.epoch, instance.restored_as as "restoredAs",
       ${control ? '(select system_identifier::text from pg_control_system())' : 'null'} as "systemIdentifier",
       ${wal ? `('x' || left(pg_walfile_name(pg_current_wal_flush_lsn()), 8))::bit(32)::integer` : 'null'} as timeline,
       (select oid::text from pg_database where datname = current_database()) as "databaseOid",
       ${wal ? `(pg_current_wal_flush_lsn() - '0/0')::text` : 'null'} as "walPosition",
       greatest(instance.token_floor, (select max(fencing_token) from
         (select fencing_token from environment_leases order by id desc limit ${NEWEST_LEASES}) newest)) as "highestToken",
       case when drawn.is_called then drawn.last_value else 0 end as "lastToken",
       quarantined_at as "quarantinedAt", quarantine_reason as "quarantineReason"
     from instance, fencing_token as drawn`,
  );
  if (!row) throw new Error('The database has lost the row that names its history');
  const { quarantinedAt, quarantineReason, ...facts } = row;
  return {
    ...facts,
    walPosition: facts.walPosition === null ? null : Number(facts.walPosition),
    highestToken: Number(facts.highestToken),
    lastToken: Number(facts.lastToken),
    quarantine: toQuarantine(quarantinedAt, quarantineReason),
  };
}

/** The quarantine as its two columns say it. */
export function toQuarantine(since: string | null, reason: string | null): QuarantineState | null {
  return since === null || reason === null ? null : { since: new Date(since), reason };
}

/** What this very database is called, as far as it can be told from others. */
export const nameOf = ({ systemIdentifier, timeline, databaseOid }: DatabaseState): string =>
  [systemIdentifier, timeline, databaseOid].map((part) => part ?? '?').join('/');
