import { setTimeout as delay } from 'node:timers/promises';
import type { Deployment } from './deployment.js';
import type { ServerMember } from './server-member.js';

/** How long a server may take to be its old self once nothing is in its way, in milliseconds. */
const BACK_MS = 60_000;
const LOOK_MS = 1_000;

/**
 * Whether every server serves again, each for itself: an API server answers that it is well, and a runner takes work.
 * @param offerWork makes as many runs as all runners together can take at once.
 * @returns those that do not, when their time is over.
 */
export async function rollCall(
  deployment: Deployment,
  offerWork: (runs: number) => Promise<unknown>,
): Promise<string[]> {
  const since = new Date();
  const { runners, options } = deployment;
  const until = performance.now() + BACK_MS;
  for (;;) {
    await offerWork(runners.length * options.slots);
    await delay(LOOK_MS);
    const missing = [...(await unwell(deployment.apis)), ...(await idle(deployment, since))];
    if (missing.length === 0 || performance.now() > until) {
      return missing.map(({ name }) => `${name} is up, and does not serve any more`);
    }
  }
}

async function unwell(apis: readonly ServerMember[]): Promise<ServerMember[]> {
  const answers = await Promise.all(
    apis.map(({ url }) => fetch(`${url}/api/health`, { signal: AbortSignal.timeout(5_000) }).catch(() => null)),
  );
  return apis.filter((_, index) => answers[index]?.status !== 200);
}

/** Runners that have taken no lease since. */
async function idle(deployment: Deployment, since: Date): Promise<ServerMember[]> {
  const busy = await deployment.query<{ pid: number }>(
    `select distinct r.pid from environment_leases l join runners r on r.id::text = l.runner_id where l.acquired_at > $1`,
    [since],
  );
  const pids = new Set(busy.map(({ pid }) => pid));
  return deployment.runners.filter(({ pid }) => !pids.has(pid));
}
