import { setTimeout as delay } from 'node:timers/promises';
import type { Caller } from './caller.js';
import type { History, HistoryProcess } from './history.js';
import type { SeededRandom } from './seeded-random.js';
import { shareOf, type Yard } from './yards.js';

/** One in so many wakes is sent again though it was answered; one in so many runs is cancelled. */
const REPEATED = 0.05;
const CANCELLED = 0.03;

/** What a caller was told about a wake of his. */
export interface AnsweredWake {
  readonly key: string;
  readonly companyId: string;
  readonly status: number;
  readonly wakeupRequestId: string;
  readonly wakeStatus: string;
  readonly runId: string | null;
}

export interface LoadOptions {
  readonly yards: readonly Yard[];
  readonly random: SeededRandom;
  /** How many wakes in a second at most. */
  readonly rate: () => number;
  /** Whether more waits already than anybody could take. */
  readonly isFull: () => boolean;
}

/** Wakes agents, one after the other at a pace, and keeps what was answered. */
export class Wakers {
  readonly answered: AnsweredWake[] = [];
  private sent = 0;
  private readonly under: Promise<void>[] = [];

  constructor(
    private readonly caller: Caller,
    private readonly history: History,
    private readonly options: LoadOptions,
  ) {}

  /** Wakes until the time is over. @param answersBy when the last answer must have come. */
  async wake(until: AbortSignal, answersBy: AbortSignal): Promise<void> {
    while (!until.aborted) {
      if (this.options.isFull()) await delay(50);
      else {
        this.under.push(this.one(this.sent++, answersBy));
        await delay(1000 / this.options.rate());
      }
    }
  }

  /** Wakes one agent so many times at once. */
  async wakeOne(yard: Yard, agentId: string, count: number, answersBy: AbortSignal): Promise<void> {
    const wakes = Array.from({ length: count }, () => {
      const key = `wake ${yard.companyId} ${this.sent++}`;
      const body = { idempotencyKey: key, payload: { taskKey: key } };
      return this.send(this.history.process(), yard, agentId, body, answersBy);
    });
    await Promise.all(wakes);
  }

  /** Returns once every wake has been answered. */
  async settled(): Promise<void> {
    await Promise.all(this.under);
  }

  private async one(index: number, answersBy: AbortSignal): Promise<void> {
    const { random, yards } = this.options;
    const yard = random.pick(yards.flatMap((one) => Array<Yard>(one.share).fill(one)));
    const issueId = yard.issueIds.length > 0 ? random.pick(yard.issueIds) : null;
    const agent = shareOf(yard, random.between(0, 1000));
    const key = `wake ${yard.companyId} ${index}`;
    const body = { idempotencyKey: key, payload: issueId ? { issueId } : { taskKey: key } };
    const process = this.history.process();
    const again = random.isTrue(REPEATED);
    const runId = await this.send(process, yard, agent.id, body, answersBy);
    if (again) await this.send(process, yard, agent.id, body, answersBy);
    if (runId && random.isTrue(CANCELLED)) {
      await delay(random.between(0, 400));
      await this.caller.send('POST', `/heartbeat-runs/${runId}/cancel`, {});
    }
  }

  private async send(
    process: HistoryProcess,
    { companyId }: Yard,
    agentId: string,
    body: { idempotencyKey: string },
    answersBy: AbortSignal,
  ): Promise<string | null> {
    const key = body.idempotencyKey;
    process.note('invoke', 'wake', key);
    const answer = await this.caller
      .insist('POST', `/agents/${agentId}/wakeup`, body, key, answersBy)
      .catch(() => null);
    if (!answer) {
      process.note('info', 'wake', key);
      return null;
    }
    const { wakeupRequestId, wakeStatus, id } = answer.body as Record<string, string>;
    const runId = wakeStatus === 'queued' || wakeStatus === 'coalesced' ? id : null;
    this.answered.push({ key, companyId, status: answer.status, wakeupRequestId, wakeStatus, runId });
    process.note(answer.status === 202 ? 'ok' : 'fail', 'wake', { key, wakeupRequestId, wakeStatus, runId });
    return wakeStatus === 'queued' ? id : null;
  }
}
