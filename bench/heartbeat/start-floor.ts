import { execFile } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { TELLS_TIME } from './workload.ts';

/**
 * The least that records a wake and a start before a process is spawned: two prepared statements, each a transaction of a
 * row and then two, from a bare `pg` client; no HTTP, no queue, nothing decided.
 */
export class StartFloor implements AsyncDisposable {
  private readonly client: Client;
  private made = 0;

  private constructor(client: Client) {
    this.client = client;
  }

  /** @param url of a database of its own. */
  static async connect(url: string): Promise<StartFloor> {
    const client = new Client(url);
    await client.connect();
    await client.query('create table runs (id integer primary key, status text); create table leases (run integer)');
    return new StartFloor(client);
  }

  /** One after the other at a steady pace. @returns how long each took until its process read the time, in milliseconds. */
  async round(runs: number, perSecond: number): Promise<number[]> {
    const begunAt = performance.now();
    const started: Promise<number>[] = [];
    for (let run = 0; run < runs; run++) {
      await delay(Math.max(0, begunAt + (run * 1000) / perSecond - performance.now()));
      started.push(this.start());
    }
    return Promise.all(started);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.end();
  }

  private async start(): Promise<number> {
    const wokenAt = Date.now();
    const values = [++this.made];
    await this.client.query({ name: 'queue', text: `insert into runs values ($1, 'queued')`, values });
    await this.client.query({ name: 'start', text: START, values });
    const { command, args } = TELLS_TIME.adapterConfig;
    const { stdout } = await promisify(execFile)(command, args);
    return Number(stdout) / 1e6 - wokenAt;
  }
}

const START = `with run as (update runs set status = 'running' where id = $1 returning id) insert into leases select id from run`;
