/** How this process was told to run; read once at start from `BERTH_*` variables. */
export class BerthConfig {
  /** Where everything lives that is kept on this machine: the embedded database, host id. Absolute. */
  readonly home: string;
  /** An existing PostgreSQL, or null for the embedded one. */
  readonly databaseUrl: string | null;
  readonly host: string;
  readonly port: number;
  readonly roles: ReadonlySet<'api' | 'runner'>;
  /** How long a lease lasts unless it is renewed, in seconds. */
  readonly leaseTtlSec: number;
  /** How many runs this process executes at once. */
  readonly runnerSlots: number;
  /** How much of one run's log is kept, in bytes. */
  readonly runLogMaxBytes: number;
  readonly logLevel: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent';
  /** Where an agent's process reaches the API; without a trailing slash. */
  readonly publicUrl: string;
}
