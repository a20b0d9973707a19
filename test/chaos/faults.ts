import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import type { Deployment } from './deployment.js';
import type { SeededRandom } from './seeded-random.js';
import type { ServerMember } from './server-member.js';

/** What is done to a deployment, and what it is done to: nothing is done twice at once to one thing. */
interface Fault {
  readonly to: 'api' | 'runner' | 'postgres' | 'sessions';
  /** How long it lasts, in milliseconds, from and to. */
  readonly lasts: readonly [number, number];
  /** Does it and undoes it. */
  inflict(deployment: Deployment, target: ServerMember, forMs: number): Promise<void>;
}

/** For a member of the deployment: its way to the database fails in this way for a while. */
const network = (fail: (target: ServerMember, forMs: number) => void): Fault['inflict'] => {
  return async (_deployment, target, forMs) => {
    fail(target, forMs);
    await delay(forMs);
    target.proxy.comeBack();
  };
};

/** Longer than a lease lasts, whose life is 3 seconds here. */
const PAST_THE_LEASE = [3_500, 6_000] as const;

const killAndRestart: Fault['inflict'] = async (_deployment, target, forMs) => {
  await target.kill9();
  await delay(forMs);
  await target.start();
};

export const FAULTS = {
  'a runner is killed': { to: 'runner', lasts: [200, 2_000], inflict: killAndRestart },
  'a runner is asked to stop': {
    to: 'runner',
    lasts: [200, 1_000],
    async inflict(_deployment, target, forMs) {
      await target.stop();
      await delay(forMs);
      await target.start();
    },
  },
  'a runner is frozen past its leases': {
    to: 'runner',
    lasts: PAST_THE_LEASE,
    async inflict(_deployment, target, forMs) {
      target.freeze();
      await delay(forMs);
      target.thaw();
    },
  },
  // Until the runner has surely noticed: what happens when it is killed before that is not promised.
  'a guard is killed': {
    to: 'runner',
    lasts: [3_000, 4_000],
    async inflict(_deployment, target, forMs) {
      target.killGuard();
      await delay(forMs);
    },
  },
  'an API server is killed': { to: 'api', lasts: [200, 1_500], inflict: killAndRestart },
  'a runner is cut off': { to: 'runner', lasts: [500, 6_000], inflict: network(({ proxy }) => proxy.goAway()) },
  'the connections of a runner are cut': {
    to: 'runner',
    lasts: [50, 100],
    inflict: network(({ proxy }) => proxy.hangUp()),
  },
  'the connections of a runner stall': {
    to: 'runner',
    lasts: [500, 6_000],
    inflict: network(({ proxy }) => proxy.stall()),
  },
  'the network of a runner is slow': {
    to: 'runner',
    lasts: [500, 3_000],
    inflict: network(({ proxy }, forMs) => proxy.slowDown(20 + (forMs % 80))),
  },
  'the connections of a runner are half open': {
    to: 'runner',
    lasts: [1_000, 2_000],
    inflict: network(({ proxy }) => proxy.abandon()),
  },
  'a commit of a runner is cut before it arrives': {
    to: 'runner',
    lasts: [500, 1_000],
    inflict: network(({ proxy }) => void proxy.cutCommit('before', /heartbeat_runs/)),
  },
  'the answer to a commit of a runner is lost': {
    to: 'runner',
    lasts: [500, 1_000],
    inflict: network(({ proxy }) => void proxy.cutCommit('after', /heartbeat_runs/)),
  },
  'a commit of a runner arrives late': {
    to: 'runner',
    lasts: [1_000, 2_000],
    inflict: network(({ proxy }) => void proxy.cutCommit('late', /heartbeat_runs/)),
  },
  'the answer to a commit of an API server is lost': {
    to: 'api',
    lasts: [500, 1_000],
    inflict: network(({ proxy }) => void proxy.cutCommit('after', /insert|update/)),
  },
  'PostgreSQL is restarted': {
    to: 'postgres',
    lasts: [100, 1_000],
    inflict: (deployment, _target, forMs) => deployment.restartPostgres('fast', forMs),
  },
  'PostgreSQL crashes': {
    to: 'postgres',
    lasts: [100, 1_000],
    inflict: (deployment, _target, forMs) => deployment.restartPostgres('crash', forMs),
  },
  'sessions are terminated': { to: 'sessions', lasts: [500, 2_000], inflict: terminateSessions },
  'connections are used up': { to: 'sessions', lasts: [1_000, 4_000], inflict: useUpConnections },
  'a transaction is left open': { to: 'sessions', lasts: [1_000, 5_000], inflict: leaveTransactionOpen },
  'a transaction that holds agents is left open': { to: 'sessions', lasts: [300, 2_000], inflict: holdAgents },
} satisfies Record<string, Fault>;

export type FaultName = keyof typeof FAULTS;
export const FAULT_NAMES = Object.keys(FAULTS) as FaultName[];

/** Ends active sessions of servers twice a second, those that wait for their client inside a transaction included. */
async function terminateSessions(deployment: Deployment, _target: ServerMember, forMs: number): Promise<void> {
  const until = performance.now() + forMs;
  while (performance.now() < until) {
    await deployment
      .query(
        `select pg_terminate_backend(pid) from pg_stat_activity where datname = 'berth' and pid <> pg_backend_pid()
           and application_name <> 'berth-chaos' and (state <> 'idle' or random() < 0.5)`,
      )
      .catch(() => undefined);
    await delay(500);
  }
}

/** Takes every connection that there is, and the next that come free. */
async function useUpConnections(deployment: Deployment, _target: ServerMember, forMs: number): Promise<void> {
  const until = performance.now() + forMs;
  const held: Client[] = [];
  while (performance.now() < until) {
    const one = await deployment.connect().catch(() => null);
    if (one) held.push(one);
    else await delay(100);
  }
  await Promise.all(held.map((client) => client.end().catch(() => undefined)));
}

/** A transaction with an id of its own keeps the database from forgetting anything that it might still see. */
function leaveTransactionOpen(deployment: Deployment, _target: ServerMember, forMs: number): Promise<void> {
  return holdOpen(deployment, 'select pg_current_xact_id()', forMs);
}

function holdAgents(deployment: Deployment, _target: ServerMember, forMs: number): Promise<void> {
  return holdOpen(deployment, 'select id from agents order by id limit 3 for update', forMs);
}

/** Left out when there is no database, or no connection left, because of what else goes on. */
async function holdOpen(deployment: Deployment, sql: string, forMs: number): Promise<void> {
  const client = await deployment.connect().catch(() => null);
  if (!client) return;
  const isOpen = await client.query(`begin; ${sql}`).then(
    () => true,
    () => false,
  );
  if (isOpen) await delay(forMs);
  await client.end().catch(() => undefined);
}

export interface PlannedFault {
  readonly atMs: number;
  readonly name: FaultName;
  /** Which of the members it is for. */
  readonly target: number;
  readonly forMs: number;
}

/** What will be done in so much time: the same for the same seed. */
export function planFaults(
  random: SeededRandom,
  seconds: number,
  names: readonly FaultName[] = FAULT_NAMES,
): PlannedFault[] {
  const plan: PlannedFault[] = [];
  for (let atMs = 500; atMs < seconds * 1000; atMs += random.between(200, 1_200)) {
    const name = random.pick(names);
    const [from, to] = FAULTS[name].lasts;
    plan.push({ atMs, name, target: random.between(0, 100), forMs: random.between(from, to) });
  }
  return plan;
}
