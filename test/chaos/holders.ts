import { setTimeout as delay } from 'node:timers/promises';
import type { Caller } from './caller.js';
import type { History, HistoryProcess } from './history.js';
import type { SeededRandom } from './seeded-random.js';
import type { SignsOfLife } from './signs-of-life.js';
import type { Yard } from './yards.js';

const TTL_SEC = 3;
const WAIT_SEC = 2;
/** So long before his lease may have run out a holder stops counting on it: what he does next takes time, too. */
const MARGIN_MS = 500;
/** One in so many does not say that he has finished; one in so many comes back with a token that is over. */
const FORGETFUL = 0.15;
const LATE = 0.3;

interface HeldLease {
  readonly lock: string;
  readonly slot: number;
  readonly token: number;
  readonly leaseId: string;
}

/** Somebody outside who holds an environment again and again, as long as his own clock says that he may. */
export class Holder {
  private readonly process: HistoryProcess;
  private turns = 0;

  constructor(
    private readonly caller: Caller,
    private readonly random: SeededRandom,
    private readonly signs: SignsOfLife,
    private readonly yard: Yard,
    history: History,
  ) {
    this.process = history.process();
  }

  async work(until: AbortSignal): Promise<void> {
    while (!until.aborted) {
      const turn = await this.acquire(until);
      if (turn) await this.hold(turn.lease, turn.deadline);
      await delay(this.random.between(50, 400));
    }
  }

  /** What was answered to a repeated request may have been granted to the first: the time counts from that. */
  private async acquire(until: AbortSignal): Promise<{ lease: HeldLease; deadline: number } | null> {
    const { companyId, environmentId } = this.yard;
    const holder = `holder-${this.process.id}-${++this.turns}`;
    const deadline = performance.now() + TTL_SEC * 1000;
    this.process.note('invoke', 'acquire', { lock: environmentId });
    const body = { environmentId, holder, ttlSec: TTL_SEC, waitSec: WAIT_SEC };
    const answer = await this.caller
      .insist('POST', `/companies/${companyId}/environment-leases`, body, holder, until)
      .catch(() => null);
    if (answer?.status !== 201) {
      this.process.note(answer ? 'fail' : 'info', 'acquire', { lock: environmentId });
      return null;
    }
    const { id, fencingToken, slot } = answer.body as { id: string; fencingToken: number; slot: number };
    const lease = { lock: environmentId, slot, token: fencingToken, leaseId: id };
    this.process.note('ok', 'acquire', lease);
    return { lease, deadline };
  }

  private async hold(lease: HeldLease, granted: number): Promise<void> {
    const name = `holder-${this.process.id}-${this.turns}`;
    let deadline = granted;
    let hasBegun = false;
    for (let step = this.random.between(2, 15); step > 0; step--) {
      const sentAt = performance.now();
      const renewed = await this.write('renew', lease, {});
      if (renewed === false) return;
      if (renewed) deadline = sentAt + TTL_SEC * 1000;
      if (performance.now() > deadline - MARGIN_MS) break;
      this.signs.give(hasBegun ? 'alive' : 'begin', name, lease.leaseId);
      hasBegun = true;
      await delay(this.random.between(20, 150));
    }
    if (this.random.isTrue(FORGETFUL)) return;
    await this.write('release', lease, {});
    if (this.random.isTrue(LATE)) await this.write('renew', lease, {});
  }

  /** @returns whether it was taken; null when nobody knows. */
  private async write(f: 'renew' | 'release', lease: HeldLease, body: object): Promise<boolean | null> {
    this.process.note('invoke', f, lease);
    const answer = await this.caller.send('POST', `/environment-leases/${lease.leaseId}/${f}`, {
      ...body,
      fencingToken: lease.token,
    });
    this.process.note(answer === null ? 'info' : answer.status === 200 ? 'ok' : 'fail', f, lease);
    return answer && answer.status === 200;
  }
}
