import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import type { Round } from '../rounds.ts';

const PROGRAM = path.join(import.meta.dirname, 'spawner.ts');
/** As many as a runner has slots. */
const AT_ONCE = 8;

/** What any heartbeat costs at least: its process, spawned by a small Node program that does nothing else. */
export async function spawnRound(times: number): Promise<Round> {
  const { stdout } = await promisify(execFile)(process.execPath, [PROGRAM, String(times), String(AT_ONCE)]);
  return { operations: times, seconds: Number(stdout), latencies: [] };
}
