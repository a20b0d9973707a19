import { setTimeout as delay } from 'node:timers/promises';
import { HttpClient } from '../http.ts';
import type { Round } from '../rounds.ts';

/**
 * Sends requests by the clock, whatever the answers to those before. What one takes counts from when it was due, so that
 * a server that falls behind cannot hide it.
 * @param rate requests in a second.
 * @returns a round for each kind of request.
 */
export async function openLoop(
  url: string,
  kinds: Record<string, string>,
  { rate, seconds }: { rate: number; seconds: number },
): Promise<Record<string, Round>> {
  using client = new HttpClient(url);
  const names = Object.keys(kinds);
  const latencies = Object.fromEntries(names.map((name): [string, number[]] => [name, []]));
  const begunAt = performance.now();
  const underWay: Promise<unknown>[] = [];
  for (let index = 0; index < rate * seconds; index++) {
    const dueAt = begunAt + (index * 1000) / rate;
    const early = dueAt - performance.now();
    if (early > 0) await delay(early);
    const name = names[index % names.length];
    underWay.push(client.get(kinds[name]).then(() => latencies[name].push(performance.now() - dueAt)));
  }
  await Promise.all(underWay);
  const took = (performance.now() - begunAt) / 1000;
  return Object.fromEntries(
    names.map((name) => [name, { operations: latencies[name].length, seconds: took, latencies: latencies[name] }]),
  );
}
