import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import type { Round } from '../rounds.ts';
import { TELLS_TIME } from './workload.ts';

const PROGRAM = path.join(import.meta.dirname, 'spawner.ts');
const BURST_PROGRAM = path.join(import.meta.dirname, 'burst-spawner.ts');
/** As many as a runner has slots. */
const AT_ONCE = 8;

/** What any heartbeat costs at least: its process, spawned by a small Node program that does nothing else. */
export async function spawnRound(times: number): Promise<Round> {
  const { stdout } = await promisify(execFile)(process.execPath, [PROGRAM, String(times), String(AT_ONCE)]);
  return { operations: times, seconds: Number(stdout), latencies: [] };
}

/** The same at once: how long it takes until each process has read the time, in milliseconds. */
export async function spawnBurst(times: number): Promise<number[]> {
  const { command, args } = TELLS_TIME.adapterConfig;
  const { stdout } = await promisify(execFile)(process.execPath, [BURST_PROGRAM, String(times), command, ...args]);
  return JSON.parse(stdout) as number[];
}
