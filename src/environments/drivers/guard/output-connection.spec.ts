import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const MODULE = new URL('./output-connection.ts', import.meta.url).href;
/** Connects while nobody takes connections, in the turn of the event loop in which it began to listen. */
const PROGRAM = `
  import { createServer } from 'node:net';
  import { connectOutput } from '${MODULE}';
  const [, path, where] = process.argv;
  createServer().listen({ path, backlog: 1 }, () => {
    const lines = [];
    try {
      while (lines.length < 10) lines.push(connectOutput(where, 'who') > 2);
    } catch ({ message }) {
      lines.push(message);
    }
    process.stdout.write(JSON.stringify(lines), () => process.exit());
  });`;

// In a process of its own, which can be ended when it waits.
describe('a connection for output', () => {
  let home: string;

  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'berth-output-'));
  });
  afterEach(() => rm(home, { recursive: true }));

  function connect(where: string) {
    const args = ['--input-type=module', '-e', PROGRAM, join(home, 'listens'), join(home, where)];
    const { stdout, signal } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 10_000 });
    return { signal, lines: stdout && (JSON.parse(stdout) as unknown) };
  }

  it('is refused where too many wait to be taken, and does not wait with them', () => {
    expect(connect('listens')).toEqual({
      signal: null,
      lines: [true, true, 'its output cannot be received: EAGAIN'],
    });
  });

  it('is refused where nobody listens', () => {
    expect(connect('elsewhere')).toEqual({ signal: null, lines: ['its output cannot be received: ENOENT'] });
  });
});
