// A program of its own: spawns /bin/true a number of times, some at once, and says how long that took. Nothing else is in
// its memory, so that nothing slows its spawns down.
import { spawn } from 'node:child_process';

const [times, atOnce] = process.argv.slice(2).map(Number);
let left = times;

async function spawnInTurn(): Promise<void> {
  while (left-- > 0) await new Promise((resolve) => spawn('/bin/true').on('close', resolve));
}

const begunAt = performance.now();
await Promise.all(Array.from({ length: atOnce }, spawnInTurn));
console.log((performance.now() - begunAt) / 1000);
