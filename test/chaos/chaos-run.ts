import { setTimeout as delay } from 'node:timers/promises';
import { verifyRecord } from '../../src/activity/verify/verify-record.js';
import { Caller } from './caller.js';
import { checkAppends, checkReader } from './checks/append-only.js';
import { checkExpiry } from './checks/expiry.js';
import { checkFencedLock } from './checks/fenced-locks.js';
import { checkLeaseWrites } from './checks/lease-writes.js';
import { checkSigns } from './checks/signs.js';
import { checkNothingLost, checkRunsEnded } from './checks/wakes.js';
import type { Deployment } from './deployment.js';
import { appendEntries, Follower } from './followers.js';
import { History, noteLives } from './history.js';
import { Holder } from './holders.js';
import { readRecord, type FinalRecord } from './record.js';
import { rollCall } from './roll-call.js';
import { SeededRandom } from './seeded-random.js';
import { bootedAt, SignsOfLife } from './signs-of-life.js';
import { Wakers } from './wakers.js';
import { buildYard, rollCallAgentOf, type Yard, type YardPlan } from './yards.js';

/** How long nothing of what waits may end though nothing is in its way, in milliseconds. */
const STUCK_MS = 60_000;
const LOOK_MS = 300;
/** How long what had no answer is asked for again after all is well, in milliseconds. */
const ANSWERS_MS = 120_000;

/** How fast agents are woken. */
export interface Pace {
  /** Wakes in a second. */
  readonly rate: () => number;
  /** How many runs may wait before no more is sent. */
  readonly mostWaiting: number;
}

/** Work that is given to a deployment while things are done to it, and everything that was seen of it. */
export class ChaosRun {
  readonly history = new History();
  readonly signs = new SignsOfLife();
  readonly wakers: Wakers;
  private readonly caller: Caller;
  private readonly companions: Promise<void>[] = [];
  private readonly followers: { yard: Yard; follower: Follower }[] = [];
  private readonly over = new AbortController();
  private readonly answersBy = new AbortController();
  private readonly followed = new AbortController();
  private waiting = 0;
  /** Servers that did not come to themselves again. */
  private absent: string[] = [];

  private constructor(
    readonly deployment: Deployment,
    private readonly random: SeededRandom,
    private readonly yards: Yard[],
    { rate, mostWaiting }: Pace,
  ) {
    this.caller = new Caller(deployment, random);
    this.wakers = new Wakers(this.caller, this.history, {
      yards,
      random,
      rate,
      isFull: () => this.waiting > mostWaiting,
    });
  }

  /** Makes the companies, and begins everything that goes on beside the wakes. */
  static async begin(
    deployment: Deployment,
    seed: number,
    pace: Pace,
    plans: readonly YardPlan[],
    followers = 2,
  ): Promise<ChaosRun> {
    const run = new ChaosRun(deployment, new SeededRandom(seed), [], pace);
    for (const plan of plans) run.yards.push(await buildYard(run.caller, run.signs, plan));
    run.accompany();
    run.follow(run.yards[0], followers);
    return run;
  }

  get companyIds(): string[] {
    return this.yards.map(({ companyId }) => companyId);
  }

  wake(until: AbortSignal): Promise<void> {
    return this.wakers.wake(until, this.answersBy.signal);
  }

  /** Nothing new is begun: returns when all that was begun has come to its end, or could not. */
  async settle(): Promise<void> {
    this.over.abort();
    const timer = setTimeout(() => this.answersBy.abort(), ANSWERS_MS);
    await Promise.all([...this.companions, this.wakers.settled()]);
    const [yard] = this.yards;
    const { id } = rollCallAgentOf(yard);
    this.absent = await rollCall(this.deployment, (runs) => this.wakers.wakeOne(yard, id, runs, this.answersBy.signal));
    clearTimeout(timer);
    await this.quiet();
  }

  /** @returns all that contradicts what is promised. */
  async check(): Promise<{ violations: string[]; record: FinalRecord }> {
    const record = await readRecord(this.deployment, this.companyIds);
    await this.delivered(record);
    const signs = this.signs.read();
    const capacities = new Map(
      this.yards.flatMap(({ environmentId, capacity }) =>
        capacity === null ? [] : [[environmentId, capacity] as const],
      ),
    );
    const caps = new Map(this.yards.flatMap(({ agents }) => agents.map(({ id, cap }) => [id, cap] as const)));
    const { operations } = this.history;
    const violations = [
      ...this.deployment.faults,
      ...this.absent,
      ...checkRunsEnded(record),
      ...checkNothingLost(this.wakers.answered, record),
      ...checkExpiry(record, signs, bootedAt()),
      ...checkSigns(signs, record, { capacities, caps }),
      ...checkLeaseWrites(operations),
      ...[...capacities].flatMap(([environmentId, permits]) =>
        checkFencedLock(holdsIn(record, environmentId), permits),
      ),
      ...checkAppends(operations, record.appended),
      ...this.followers.flatMap(({ yard, follower }, n) =>
        checkReader(`Reader ${n + 1}`, follower.seen, record.entries.get(yard.companyId) ?? []),
      ),
      ...(await verifyRecord(this.deployment.databaseUrl, 60)).flatMap(({ divergences }) =>
        divergences.map(({ sentence }) => sentence),
      ),
    ];
    return { violations, record };
  }

  /** Writes all that was done from outside as JSON lines, what the holders of leases themselves wrote included. */
  exportHistory(file: string, record: FinalRecord): void {
    const reader = this.history.process();
    reader.note('invoke', 'read', null);
    reader.note('ok', 'read', record.appended);
    noteLives(this.history, this.signs.read(), record);
    this.history.export(file);
  }

  /** What goes on beside the wakes. */
  private accompany(): void {
    const { caller, random, signs, history } = this;
    const { signal } = this.over;
    this.companions.push(this.watchBacklog(signal));
    for (const yard of this.yards.filter(({ capacity }) => capacity !== null)) {
      for (let holder = 0; holder < 2; holder++) {
        this.companions.push(new Holder(caller, random, signs, yard, history).work(signal));
      }
    }
    this.companions.push(appendEntries(caller, history, this.yards[0].companyId, signal, this.answersBy.signal));
  }

  /** Reads along the record of a company. */
  private follow(yard: Yard, followers: number): void {
    for (let n = 0; n < followers; n++) {
      const follower = new Follower(this.deployment, this.random, yard.companyId);
      this.followers.push({ yard, follower });
      void follower.follow(this.followed.signal);
    }
  }

  /** Gives the readers the time to be given what is there. */
  private async delivered({ entries }: FinalRecord): Promise<void> {
    const until = performance.now() + 15_000;
    const isMissing = () =>
      this.followers.some(({ yard, follower }) => follower.seen.length < (entries.get(yard.companyId)?.length ?? 0));
    while (isMissing() && performance.now() < until) await delay(50);
    this.followed.abort();
  }

  /** Waits for as long as work goes on. */
  private async quiet(): Promise<void> {
    let left = await this.unfinished();
    let since = performance.now();
    while (left > 0 && performance.now() < since + STUCK_MS) {
      await delay(LOOK_MS);
      const now = await this.unfinished();
      if (now !== left) since = performance.now();
      left = now;
    }
  }

  /** How many runs, wakes and leases have not come to their end. */
  private async unfinished(): Promise<number> {
    const [{ count }] = await this.deployment
      .query<{ count: number }>(
        `select (select count(*) from heartbeat_runs where status in ('queued', 'running', 'scheduled_retry'))::integer
           + (select count(*) from agent_wakeup_requests where finished_at is null)::integer
           + (select count(*) from environment_leases where status = 'active')::integer as count`,
      )
      .catch(() => [{ count: 1 }]);
    return count;
  }

  /** The last count stands while the database does not answer. */
  private async watchBacklog(until: AbortSignal): Promise<void> {
    while (!until.aborted) {
      await this.deployment
        .query<{ count: number }>(
          `select count(*)::integer as count from heartbeat_runs where status in ('queued', 'running')`,
        )
        .then(([{ count }]) => (this.waiting = count))
        .catch(() => undefined);
      await delay(LOOK_MS);
    }
  }
}

const holdsIn = ({ leases }: FinalRecord, environmentId: string) =>
  leases
    .filter((lease) => lease.environmentId === environmentId)
    .map(({ id, slot, token, acquiredAt, heldUntil }) => {
      return {
        lock: environmentId,
        slot,
        holder: `lease ${id}`,
        token,
        from: acquiredAt,
        until: heldUntil ?? Infinity,
      };
    });
