// Does something only while it holds a place in an environment: acquires a lease, renews it, and ends what it started
// when the lease is lost. See README.md.
import { spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';

/** Exit codes: it was never ours, and it was taken away (as of `sysexits.h`: temporary failure, protocol error). */
const NOT_GRANTED = 75;
const LOST = 76;
/** How long one request waits; longer waits are several of these, because clients give up on silent connections. */
const WAIT_SEC = 60;
/** How long a command that is asked to end has for it, in milliseconds. */
const GRACE_MS = 5000;

const { values, positionals: command } = parseArgs({
  allowPositionals: true,
  options: {
    url: { type: 'string', default: process.env.BERTH_URL ?? 'http://127.0.0.1:3100' },
    company: { type: 'string' },
    environment: { type: 'string' },
    holder: { type: 'string' },
    ttl: { type: 'string', default: '60' },
    wait: { type: 'string', default: '3600' },
  },
});
const ttlSec = Number(values.ttl);
if (!values.company || !values.environment || !values.holder || command.length === 0) {
  console.error(
    'usage: reserve.mjs --company ID --environment ID --holder NAME [--ttl SEC] [--wait SEC] -- COMMAND...',
  );
  process.exit(64);
}

async function post(path, body, { key, timeoutMs = 10_000 } = {}) {
  const response = await fetch(`${values.url}/api/${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(key ? { 'idempotency-key': key } : {}) },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(timeoutMs),
  });
  return { status: response.status, body: await response.json() };
}

/** Waits for the lease. A request whose answer got lost is sent again under the same key, so that none is left behind. */
async function acquire() {
  const until = Date.now() + Number(values.wait) * 1000;
  let key = crypto.randomUUID();
  for (;;) {
    const leftSec = Math.max(0, Math.ceil((until - Date.now()) / 1000));
    const waitSec = Math.min(WAIT_SEC, leftSec);
    const { environment: environmentId, holder } = values;
    try {
      const wish = { environmentId, holder, ttlSec, waitSec };
      const timeoutMs = (waitSec + 10) * 1000;
      const { status, body } = await post(`companies/${values.company}/environment-leases`, wish, { key, timeoutMs });
      if (status === 201) return body;
      console.error(body.error);
      if (status !== 503 && (status !== 409 || leftSec === 0)) process.exit(NOT_GRANTED);
      key = crypto.randomUUID();
    } catch (error) {
      console.error(`${error.message}; asking again`);
    }
    await delay(1000);
  }
}

/**
 * Renews once.
 * @returns until when the lease can be counted on, by this process's own clock; null when it is lost.
 */
async function renew({ id, fencingToken }, timeoutMs) {
  // The server counts from when it hears of it, which is later: our deadline is on the safe side.
  const sentAt = performance.now();
  const { status, body } = await post(`environment-leases/${id}/renew`, { fencingToken, ttlSec }, { timeoutMs });
  if (status === 410) return null;
  if (status !== 200) throw new Error(body.error);
  // Less than the time to live near the end of its lifetime, or when an operator has revoked it for later.
  return sentAt + Date.parse(body.expiresAt) - Date.parse(body.lastUsedAt);
}

/** Renews at a third of the time to live. Returns why the lease cannot be counted on any more. */
async function keep(lease, firstDeadline, done) {
  const periodMs = (ttlSec * 1000) / 3;
  let deadline = firstDeadline;
  for (let leftMs; (leftMs = deadline - performance.now()) > 0;) {
    await delay(Math.min(periodMs, leftMs), undefined, { signal: done });
    try {
      const renewed = await renew(lease, Math.max(1, Math.ceil(Math.min(periodMs, deadline - performance.now()))));
      if (renewed === null) return 'it expired, or somebody ended it';
      deadline = renewed;
    } catch (error) {
      console.error(`${error.message}; renewing again`);
    }
  }
  return 'it could not be renewed in time';
}

const lease = await acquire();
// How long ago it was granted is not known: a renewal tells until when it lasts.
const deadline = await renew(lease, 10_000).catch((error) => console.error(error.message));
if (!deadline) process.exit(LOST);
console.error(`Holding lease ${lease.id} with fencing token ${lease.fencingToken}`);
// A group of its own, so that everything that it starts can be ended with it.
const child = spawn(command[0], command.slice(1), {
  stdio: 'inherit',
  detached: true,
  // Whatever the command writes to can refuse a token that is smaller than the largest it has seen.
  env: { ...process.env, BERTH_LEASE_ID: lease.id, BERTH_FENCING_TOKEN: String(lease.fencingToken) },
});
const signalGroup = (signal) => {
  try {
    process.kill(-child.pid, signal);
  } catch {
    // It has ended.
  }
};
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => signalGroup(signal));

const done = new AbortController();
const ended = new Promise((resolve) => {
  child.once('error', (error) => resolve({ code: 127, error }));
  child.once('exit', (code, signal) => resolve({ code: code ?? 128, signal }));
});
const lost = keep(lease, deadline, done.signal).catch(() => null);
const reason = await Promise.race([lost, ended.then(() => null)]);
done.abort();
if (reason !== null) {
  console.error(`The lease is lost: ${reason}`);
  signalGroup('SIGTERM');
  await Promise.race([ended, delay(GRACE_MS, undefined, { ref: false })]);
  signalGroup('SIGKILL');
  process.exit(LOST);
}
const { code, error } = await ended;
if (error) console.error(error.message);
await post(`environment-leases/${lease.id}/release`, { fencingToken: lease.fencingToken }).catch((failure) => {
  console.error(`${failure.message}; the lease runs out by itself`);
});
process.exit(code);
