import { setTimeout as delay } from 'node:timers/promises';
import type { Caller } from './caller.js';
import type { Deployment } from './deployment.js';
import type { History } from './history.js';
import type { SeededRandom } from './seeded-random.js';

/** How long a stream may say nothing before its reader takes it for dead, in milliseconds. */
const SILENCE_MS = 4_000;

/** Adds entries of its own to a company's record, each under one key until it is answered. */
export async function appendEntries(
  caller: Caller,
  history: History,
  companyId: string,
  until: AbortSignal,
  answersBy: AbortSignal,
): Promise<void> {
  const process = history.process();
  for (let n = 1; !until.aborted; n++) {
    const value = `${process.id}-${n}`;
    process.note('invoke', 'append', value);
    const answer = await caller
      .insist(
        'POST',
        `/companies/${companyId}/activity`,
        { action: 'custom.chaos', details: { value } },
        value,
        answersBy,
      )
      .catch(() => null);
    process.note(answer === null ? 'info' : answer.status === 201 ? 'ok' : 'fail', 'append', value);
    await delay(100);
  }
}

/** Follows a company's record on whichever server there is, and goes on after the last entry whenever that ends. */
export class Follower {
  /** Ids of the entries as they came. */
  readonly seen: string[] = [];
  private lastEventId = '';

  constructor(
    private readonly deployment: Deployment,
    private readonly random: SeededRandom,
    private readonly companyId: string,
  ) {}

  async follow(until: AbortSignal): Promise<void> {
    while (!until.aborted) {
      const api = this.random.pick(this.deployment.apis);
      await this.read(`${api.url}/api/companies/${this.companyId}/activity/stream?from=start`, until).catch(
        () => undefined,
      );
      if (!until.aborted) await delay(100);
    }
  }

  private async read(url: string, until: AbortSignal): Promise<void> {
    const silence = new AbortController();
    const timer = setTimeout(() => silence.abort(), SILENCE_MS);
    try {
      const response = await fetch(url, {
        headers: this.lastEventId ? { 'last-event-id': this.lastEventId } : {},
        signal: AbortSignal.any([until, silence.signal]),
      });
      if (response.status !== 200 || !response.body) return;
      let rest = '';
      for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
        timer.refresh();
        const events = (rest + text).split('\n\n');
        rest = events.pop() ?? '';
        for (const event of events) this.take(event.split('\n'));
      }
    } finally {
      clearTimeout(timer);
    }
  }

  private take(lines: string[]): void {
    const data = lines.find((line) => line.startsWith('data: '));
    if (data) this.seen.push((JSON.parse(data.slice(6)) as { id: string }).id);
    const id = lines.find((line) => line.startsWith('id: '));
    if (id) this.lastEventId = id.slice(4);
  }
}
