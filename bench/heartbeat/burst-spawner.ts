// A program of its own: spawns a command many times at once, and says how long each took until it read the time, as JSON.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const [times, command, ...args] = process.argv.slice(2);
const begunAt = Date.now();
const told = await Promise.all(Array.from({ length: Number(times) }, () => promisify(execFile)(command, args)));
console.log(JSON.stringify(told.map(({ stdout }) => Number(stdout) / 1e6 - begunAt)));
