import { Client } from 'pg';

/** Any constant: what sweepers of all processes want. */
const LOCK = 0x7377_6565;
const CONNECT_MS = 10_000;

/** That one process at a time sweeps. The server gives it back when the process dies, or loses its connection. */
export class SweepLock {
  private readonly gone = new AbortController();
  /** Aborted when the lock is lost. */
  readonly lost: AbortSignal = this.gone.signal;

  private constructor(private readonly client: Client) {
    client.on('error', (error) => this.gone.abort(error));
  }

  /** @returns null when another process has it. */
  static async take(databaseUrl: string): Promise<SweepLock | null> {
    const client = new Client({
      connectionString: databaseUrl,
      application_name: 'berth-retention',
      connectionTimeoutMillis: CONNECT_MS,
      keepAlive: true,
    });
    const lock = new SweepLock(client);
    await client.connect();
    const { rows } = await client.query<{ taken: boolean }>('select pg_try_advisory_lock($1) as taken', [LOCK]);
    if (rows[0]?.taken) return lock;
    await lock.release();
    return null;
  }

  release(): Promise<void> {
    return this.client.end();
  }
}
