/** What a process does: answer HTTP requests, execute runs, or both. */
export type Role = 'api' | 'runner';

/** For how many days what is kept, where a company says nothing else; 0 for ever. */
export interface RetentionDays {
  /** The record of state changes. */
  readonly activityDays: number;
  /** Runs that have ended, with what belongs to them; reservations and wakes without a run. */
  readonly runDays: number;
  /** What runs wrote. */
  readonly runLogDays: number;
}

/** How this process was told to run; read once at start from `BERTH_*` variables. */
export class BerthConfig {
  /** Where everything lives that is kept on this machine: the embedded database, host id. Absolute. */
  readonly home: string;
  /** An existing PostgreSQL, or null for the embedded one. */
  readonly databaseUrl: string | null;
  /** Whether the operator says that the database was restored from a backup. */
  readonly restored: boolean;
  readonly host: string;
  /** 0 until the server listens, when it was told to take any free port. */
  readonly port: number;
  readonly roles: ReadonlySet<Role>;
  /** How long a lease lasts unless it is renewed, in seconds. */
  readonly leaseTtlSec: number;
  /** How long a lease can last, however often it is renewed, in seconds. */
  readonly leaseMaxLifetimeSec: number;
  /** How many runs this process executes at once. */
  readonly runnerSlots: number;
  /** How long a process that is asked to stop lets its runs end by themselves, in seconds. */
  readonly drainSec: number;
  /** How much of one run's log is kept, in bytes. */
  readonly runLogMaxBytes: number;
  readonly retention: RetentionDays;
  readonly logLevel: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent';
  /** Where an agent's process reaches the API; without a trailing slash. Final once the server listens. */
  readonly publicUrl: string;

  constructor(values: Omit<BerthConfig, 'with' | 'listensOn'>) {
    Object.assign(this, values);
  }

  /** The same configuration, except for these values. */
  with(changes: Partial<Omit<BerthConfig, 'with' | 'listensOn'>>): BerthConfig {
    return new BerthConfig({ ...this, ...changes });
  }

  /** Takes in which port the system chose, where any free one was asked for. */
  listensOn(port: number): void {
    if (this.port !== 0) return;
    const publicUrl = this.publicUrl === localUrl(this.host, 0) ? localUrl(this.host, port) : this.publicUrl;
    Object.assign(this, { port, publicUrl });
  }
}

/** The address of the API as seen from this machine. */
export const localUrl = (host: string, port: number) => `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
