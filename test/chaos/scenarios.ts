import { setTimeout as delay } from 'node:timers/promises';
import type { Deployment } from './deployment.js';
import { FAULTS } from './faults.js';

/** One thing that goes wrong for a while, as the public harness for job queues on PostgreSQL has it. */
export interface Scenario {
  /** Its name there. */
  readonly name: string;
  /** By how much more wakes come meanwhile. */
  readonly load?: number;
  /** Goes on for so long, and has undone by its end what it did. */
  stress(deployment: Deployment, forMs: number): Promise<void>;
}

const inflict =
  (name: keyof typeof FAULTS): Scenario['stress'] =>
  (deployment, forMs) =>
    FAULTS[name].inflict(deployment, deployment.runners[0], forMs);

const nothing: Scenario['stress'] = (_deployment, forMs) => delay(forMs);

/** How often a server is killed again, in milliseconds. */
const KILL_MS = 3_000;
const READERS = 4;
/** What somebody reads who wants to know everything about the queue. */
const SCAN = `select (select count(*) from heartbeat_runs r where r.status <> 'succeeded'),
  (select count(*) from environment_leases l where l.metadata = '{}'), (select count(*) from activity_log a where a.details <> '{}')`;

export const SCENARIOS: readonly Scenario[] = [
  { name: 'postgres_restart', stress: restartInTime },
  { name: 'pg_backend_kill', stress: inflict('sessions are terminated') },
  { name: 'pool_exhaustion', stress: inflict('connections are used up') },
  { name: 'crash_recovery', stress: inflict('a runner is killed') },
  { name: 'repeated_kills', stress: killAgainAndAgain },
  { name: 'idle_in_tx_saturation', stress: inflict('a transaction is left open') },
  { name: 'sustained_high_load', load: 3, stress: nothing },
  { name: 'active_readers', stress: scanAllTheTime },
  { name: 'event_delivery_burst', load: 6, stress: nothing },
];

async function restartInTime(deployment: Deployment, forMs: number): Promise<void> {
  await Promise.all([deployment.restartPostgres('fast', forMs / 2), delay(forMs)]);
}

async function killAgainAndAgain({ runners: [runner] }: Deployment, forMs: number): Promise<void> {
  const until = performance.now() + forMs;
  while (performance.now() < until) {
    await delay(KILL_MS);
    await runner.kill9();
    await runner.start();
  }
}

/** Each reader sees all that time the database as it was when it began. */
async function scanAllTheTime(deployment: Deployment, forMs: number): Promise<void> {
  const until = performance.now() + forMs;
  const read = async () => {
    const client = await deployment.connect();
    await client.query('begin transaction isolation level repeatable read');
    while (performance.now() < until) {
      await client.query(SCAN);
      await delay(100);
    }
    await client.end();
  };
  await Promise.all(Array.from({ length: READERS }, read));
}
