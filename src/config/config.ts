import { isIP } from 'node:net';

/** What a process does: answer HTTP requests, execute runs, or both. */
export type Role = 'api' | 'runner';

/** Who may call: whoever reaches the server's loopback address, or who shows a credential. */
export type AuthMode = 'local_trusted' | 'authenticated';
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
  readonly auth: AuthMode;
  /** What the first operator key of an authenticated server is to be; null to have one made. A secret. */
  readonly bootstrapKey: string | null;
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
  /** How many requests one credential may make in a minute; 0 for any number. */
  readonly requestsPerKey: number;
  /** How many requests may come from one address in a minute; 0 for any number. */
  readonly requestsPerAddress: number;
  /** How many event streams this process serves at once. */
  readonly streams: number;
  /** How many of them one caller may have. */
  readonly streamsPerCaller: number;
  /** How long a client may take over its request, or leave what it is answered unread, in seconds. */
  readonly clientTimeoutSec: number;
  /** Addresses and networks of proxies that are believed when they say for whom they ask; none in local trusted mode. */
  readonly trustedProxies: readonly string[];
  /** Addresses and networks that the adapter `http` may call although it is not free to. */
  readonly httpAllow: readonly string[];
  readonly retention: RetentionDays;
  readonly logLevel: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent';
  /** Where an agent's process reaches the API; without a trailing slash. Final once the server listens. */
  readonly publicUrl: string;
  /** Keys that secrets are encrypted with, the newest first; null where they are in a file. */
  readonly secretsKeys: readonly Buffer[] | null;
  /** The file that has them; null for one that Berth makes in its home. Absolute. */
  readonly secretsKeyFile: string | null;

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

/** Whether only this machine reaches a server that listens there. */
export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));

/** What a server that listens on every address is reached by from its own machine. */
const FROM_HERE: Record<string, string> = { '0.0.0.0': '127.0.0.1', '::': '::1' };

/** The address of the API as seen from this machine. */
export function localUrl(listensOn: string, port: number): string {
  const host = FROM_HERE[listensOn] ?? listensOn;
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}
