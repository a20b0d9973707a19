import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { escapeLiteral } from 'pg';
import type { Table } from '../benchmark.ts';
import type { Cluster } from '../cluster.ts';
import { FINALISE, PROVISION, valuesOf, type Template } from './floor.ts';
import type { Queue } from './queue.ts';

const CLIENTS = [1, 8, 32];
/** `pgbench` is told which runs to take: it counts, so their ids have to be countable. */
const countable = (kind: string, batch: number) => `${kind}${batch}000000-0000-7000-8000-`;

interface Floor {
  readonly cluster: Cluster;
  readonly queue: Queue;
  readonly template: Template;
  readonly quick: boolean;
}

/** The floor once more, driven by `pgbench`. @returns null where that is not installed. */
export async function pgbench({ cluster, queue, template, quick }: Floor): Promise<Table | null> {
  const run = promisify(execFile);
  if (!(await run('pgbench', ['--version']).catch(() => null))) return null;
  const rows: number[][] = [];
  for (const [batch, clients] of CLIENTS.entries()) {
    const cycles = (quick ? 250 : 2000) / (clients === 1 ? 4 : 1);
    const each = Math.ceil(cycles / clients);
    await queue.fill(each * clients, (index) => countable('a', batch) + index.toString(16).padStart(12, '0'));
    const script = path.join(cluster.home, 'floor.sql');
    await writeFile(script, scriptFor(template, batch, each));
    const load = ['-c', String(clients), '-j', String(Math.min(2, clients)), '-t', String(each), '-D', 'cycle=0'];
    const { stdout } = await run('pgbench', ['-n', '-M', 'prepared', '-f', script, ...load, cluster.url]);
    const [, rate] = /^tps = ([\d.]+) \(without/m.exec(stdout) ?? [];
    const [, latency] = /^latency average = ([\d.]+) ms/m.exec(stdout) ?? [];
    rows.push([clients, Number(rate), Number(latency)]);
  }
  return {
    title: 'The floor, driven by `pgbench -M prepared` in 2 threads',
    columns: ['clients', 'per second', 'mean ms'],
    rows,
  };
}

/** Both statements with their values in them, except for the ids. */
function scriptFor(template: Template, batch: number, each: number): string {
  const idOf = (kind: string, variable: string) =>
    `('${countable(kind, batch)}' || lpad(to_hex(:${variable}::bigint), 12, '0'))::uuid`;
  const { provision, finalise } = valuesOf(template, idOf('a', 'run'), idOf('b', 'run'));
  return [
    `\\set run :client_id * ${each} + :cycle`,
    `\\set cycle :cycle + 1`,
    `${filled(PROVISION, provision)};`,
    `${filled(FINALISE, finalise)};`,
  ].join('\n');
}

function filled(statement: string, values: readonly unknown[]): string {
  return statement
    .trim()
    .replaceAll('\n', ' ')
    .replaceAll(/\$(\d+)/g, (_, number: string) => sqlOf(values[Number(number) - 1]));
}

/** Text that calls a function stands for itself. */
function sqlOf(value: unknown): string {
  if (typeof value === 'string') return /[()]/.test(value) ? value : escapeLiteral(value);
  if (Buffer.isBuffer(value)) return `'\\x${value.toString('hex')}'::bytea`;
  // In a line, and with a space after each colon: a word right behind one would be a variable.
  return `${escapeLiteral(JSON.stringify(value, null, 1).replaceAll('\n', ' '))}::jsonb`;
}
