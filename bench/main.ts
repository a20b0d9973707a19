import { parseArgs } from 'node:util';
import { machine, stolenSince, ticks } from './machine.ts';
import { json, markdown, missedGates, type Result } from './report.ts';
import { SUITE } from './suite.ts';

const HELP = `npm run bench [-- OPTIONS]

Measures the built server against the PostgreSQL that comes with it, and prints what it found as Markdown.
Ends with 1 when a gate is missed. docs/performance.md says how to read it. Linux only.

  --only NAME  this benchmark alone; can be given several times
  --json       one JSON document instead
  --quick      short rounds and small sizes: shows that it works, not how fast it is
  --help       this

Benchmarks: ${SUITE.map(({ name }) => name).join(', ')}`;

const { values: options } = parseArgs({
  options: {
    only: { type: 'string', multiple: true, default: SUITE.map(({ name }) => name) },
    json: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

async function run(): Promise<number> {
  const unknown = options.only.filter((name) => !SUITE.some((benchmark) => benchmark.name === name));
  if (options.help || unknown.length > 0) {
    console.log(unknown.length > 0 ? `There is no benchmark ${unknown.join(', ')}.\n\n${HELP}` : HELP);
    return unknown.length > 0 ? 2 : 0;
  }
  if (!options.json) console.log(`Measured on ${machine()}${options.quick ? ', quickly' : ''}.\n`);
  const results: Result[] = [];
  for (const benchmark of SUITE.filter(({ name }) => options.only.includes(name))) {
    const begunAt = performance.now();
    const before = ticks();
    const say = (line: string) => console.error(`${benchmark.name}: ${line}`);
    const findings = await benchmark.run({ quick: options.quick, say });
    const seconds = (performance.now() - begunAt) / 1000;
    const result = { benchmark, findings, seconds, stolen: stolenSince(before) };
    results.push(result);
    if (!options.json) console.log(`${markdown(result)}\n`);
  }
  if (options.json) console.log(json(results));
  const missed = missedGates(results);
  for (const { what, measured } of missed) console.error(`Missed: ${what}: ${measured}`);
  return missed.length > 0 ? 1 : 0;
}

process.exitCode = await run();
