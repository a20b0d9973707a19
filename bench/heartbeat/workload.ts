import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import { HttpClient } from '../http.ts';
import type { Meter } from '../meter.ts';
import type { Round } from '../rounds.ts';

/** How often the database is asked which runs have ended, in milliseconds. */
const POLL_MS = 20;
/** Runs in the first seconds of a server's life, in which Node has yet to compile what it executes often. */
const WARM_UP = 1200;

/** A process that says when it began, in nanoseconds, by the machine's clock. */
export const TELLS_TIME = { adapterConfig: { command: 'date', args: ['+%s%N'] } };

interface Ended {
  readonly id: string;
  readonly status: string;
  readonly finished_at: Date;
}

/** Wakes agents over HTTP, and learns from the database how their runs ended: the server is not asked. */
export class Workload implements Disposable {
  private readonly http: HttpClient;
  private readonly watcher: Client;
  private readonly company: string;
  private readonly agents: readonly string[];
  private readonly waiting = new Map<string, (run: Ended) => void>();
  private polling: Promise<void> | null = null;

  private constructor(http: HttpClient, watcher: Client, company: string, agents: readonly string[]) {
    this.http = http;
    this.watcher = watcher;
    this.company = company;
    this.agents = agents;
  }

  /** Makes a company and its agents. @param fields of each agent, besides its name. */
  static async prepare(url: string, watcher: Client, agents: number, fields: object): Promise<Workload> {
    const http = new HttpClient(url);
    const company = await http.post<{ id: string }>('/companies', { name: 'Harbour' });
    const ids: string[] = [];
    for (let agent = 1; agent <= agents; agent++) {
      const made = http.post<{ id: string }>(`/companies/${company.id}/agents`, { name: `Agent ${agent}`, ...fields });
      ids.push((await made).id);
    }
    return new Workload(http, watcher, company.id, ids);
  }

  /** Gives the environment of all its runs so many slots. @returns its id. */
  async limit(capacity: number): Promise<string> {
    const [local] = await this.http.get<{ id: string }[]>(`/companies/${this.company}/environments`);
    await this.http.patch(`/environments/${local.id}`, { capacity });
    return local.id;
  }

  /** Nothing starts in the environment, or what waits may start now. */
  async steer(environment: string, action: 'drain' | 'activate'): Promise<void> {
    await this.http.post(`/environments/${environment}/${action}`);
  }

  /** Lets the server execute so many runs that Node has compiled what it executes often. */
  async warmUp(clients: number): Promise<void> {
    await this.loop(WARM_UP, clients);
  }

  /** Closed loop: each client wakes its agent when its last run has ended. */
  async closedLoop(runs: number, clients: number, meter: Meter): Promise<Round> {
    let latencies: number[] = [];
    let seconds = 0;
    const cost = await meter.during(async () => {
      const begunAt = performance.now();
      latencies = await this.loop(runs, clients);
      seconds = (performance.now() - begunAt) / 1000;
    });
    return { operations: runs, seconds, latencies, cost };
  }

  /**
   * Open loop: one wake after the other at a steady pace, whatever becomes of the runs. Nobody asks for their ends meanwhile:
   * that would take the cores from what is measured.
   * @returns when each was sent; when all runs are over.
   */
  async openLoop(runs: number, perSecond: number): Promise<Map<string, number>> {
    const begunAt = performance.now();
    const woken: ReturnType<Workload['wake']>[] = [];
    for (let run = 0; run < runs; run++) {
      await delay(Math.max(0, begunAt + (run * 1000) / perSecond - performance.now()));
      woken.push(this.wake(run));
    }
    return this.over(await Promise.all(woken));
  }

  /**
   * Wakes everybody at once.
   * @param whenWoken done when all wakes have been answered.
   * @returns when each was sent; when all runs are over.
   */
  async together(runs: number, whenWoken?: () => Promise<void>): Promise<Map<string, number>> {
    const woken = await Promise.all(Array.from({ length: runs }, (_, run) => this.wake(run)));
    await whenWoken?.();
    return this.over(woken);
  }

  [Symbol.dispose](): void {
    this.http[Symbol.dispose]();
  }

  /** @returns how long each run took, in milliseconds. */
  private async loop(runs: number, clients: number): Promise<number[]> {
    const latencies: number[] = [];
    let left = runs;
    const client = async (_: unknown, number: number) => {
      while (left-- > 0) {
        const { wokenAt, run } = await this.wake(number);
        latencies.push((await this.end(run)).finished_at.getTime() - wokenAt);
      }
    };
    await Promise.all(Array.from({ length: clients }, client));
    return latencies;
  }

  private async over(woken: Awaited<ReturnType<Workload['wake']>>[]): Promise<Map<string, number>> {
    await Promise.all(woken.map(({ run }) => this.end(run)));
    return new Map(woken.map(({ run, wokenAt }) => [run, wokenAt]));
  }

  /** @param task which is never queued twice at once, so that no wake joins another one's run. */
  private async wake(task: number): Promise<{ wokenAt: number; run: string }> {
    const agent = this.agents[task % this.agents.length];
    const wokenAt = Date.now();
    const { id: run } = await this.http.post<{ id: string }>(`/agents/${agent}/wakeup`, {
      payload: { taskKey: `task ${task}` },
    });
    return { wokenAt, run };
  }

  private end(run: string): Promise<Ended> {
    const ended = new Promise<Ended>((resolve) => this.waiting.set(run, resolve));
    this.polling ??= this.poll();
    return ended;
  }

  private async poll(): Promise<void> {
    while (this.waiting.size > 0) {
      await delay(POLL_MS);
      const { rows } = await this.watcher.query<Ended>({
        name: 'ended',
        text: 'select id, status, finished_at from heartbeat_runs where id = any($1) and finished_at is not null',
        values: [[...this.waiting.keys()]],
      });
      for (const run of rows) {
        if (run.status !== 'succeeded') throw new Error(`The run ${run.id} has ${run.status}`);
        this.waiting.get(run.id)!(run);
        this.waiting.delete(run.id);
      }
    }
    this.polling = null;
  }
}
