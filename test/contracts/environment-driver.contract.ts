import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { newId } from '../../src/database/id.js';
import { CommandNotStartedError } from '../../src/environments/drivers/driver-errors.js';
import type {
  Command,
  CommandResult,
  EnvironmentDriver,
  RealisedPlace,
  SpawnedProcess,
} from '../../src/environments/drivers/environment-driver.port.js';
import { InvalidInputError } from '../../src/errors/domain-error.js';
import { anyLease } from '../support/local-driver.js';
import { isGroupRunning } from './process-groups.js';

/** What a driver brings to the suite: itself, a config that works, and one that names a field wrongly. */
export interface DriverUnderTest {
  driver: EnvironmentDriver;
  config: Record<string, unknown>;
  badConfig: Record<string, unknown>;
}

const MEBIBYTE = 1024 * 1024;

/** What every driver promises, whatever its places are; of those that it makes, see `environmentPlacesContract`. */
export function environmentDriverContract(name: string, make: () => Promise<DriverUnderTest>): void {
  describe(`${name}: the contract of environment drivers`, () => {
    let tested: DriverUnderTest;
    let place: RealisedPlace;
    let scratch: string;

    let facts: Record<string, unknown> | null;
    const never = new AbortController().signal;

    beforeAll(async () => {
      tested = await make();
      scratch = await realpath(await mkdtemp(join(tmpdir(), 'berth-driver-')));
      const request = { placeId: newId(), companyId: newId(), config: tested.config };
      facts = tested.driver.planPlace(request)?.facts ?? null;
      place = await realise(null);
    });
    afterAll(async () => {
      if (facts) await tested.driver.teardown(facts, never);
      await rm(scratch, { recursive: true, force: true });
    });

    const realise = (workspaceCwd: string | null) =>
      tested.driver.realise(
        { leaseId: 'a lease', companyId: 'a company', config: tested.config, workspaceCwd, facts },
        never,
      );

    describe('validateConfig', () => {
      it('takes a config that works and gives it back', () => {
        expect(tested.driver.validateConfig(tested.config)).toEqual(tested.config);
      });

      it.each([['nothing'], [null], [[]], [7]])('refuses %p, which is no object', (config) => {
        expect(() => tested.driver.validateConfig(config)).toThrow(InvalidInputError);
      });

      it('names the field that is wrong', () => {
        const [field] = Object.keys(tested.badConfig);
        expect(() => tested.driver.validateConfig(tested.badConfig)).toThrow(
          expect.objectContaining({ details: [expect.objectContaining({ field: `config.${field}` })] }),
        );
      });
    });

    describe('probe', () => {
      it('says that a usable place is usable', async () => {
        const result = await tested.driver.probe(tested.config);
        expect(result).toMatchObject({ ok: true, summary: expect.any(String), details: expect.any(Object) });
      });
    });

    describe('realise', () => {
      it('gives the same place when it is repeated for one lease', async () => {
        expect(await realise(null)).toEqual(place);
      });

      it("starts in the workspace's directory where there is one", async () => {
        const cwd = join(scratch, 'a workspace');
        const { output } = await run({ program: 'pwd', args: [] }, await realise(cwd));
        expect(output.stdout).toBe(`${cwd}\n`);
      });
    });

    describe('execute', () => {
      it('runs a program to its end, with both streams apart', async () => {
        const { result, output } = await node('process.stdout.write("out"); process.stderr.write("err")');
        expect(result).toEqual({ exitCode: 0, signal: null });
        expect(output).toEqual({ stdout: 'out', stderr: 'err' });
      });

      it('keeps the exit code', async () => {
        expect((await node('process.exit(37)')).result).toEqual({ exitCode: 37, signal: null });
      });

      it('keeps the signal that ended the program', async () => {
        const { result } = await node('process.kill(process.pid, "SIGKILL")');
        expect(result).toEqual({ exitCode: null, signal: 'SIGKILL' });
      });

      it('hands over arguments as they are, with no shell to read them', async () => {
        const args = [
          'two words',
          `"quoted' and \\ more"`,
          '$HOME `id` ; exit 9 | * ~',
          '',
          'line\nbreak',
          'Ærø 🚢 日本',
        ];
        const { output } = await node('console.log(JSON.stringify(process.argv.slice(1)))', { more: args });
        expect(JSON.parse(output.stdout)).toEqual(args);
      });

      it('gives the program exactly the environment that it is given', async () => {
        process.env.BERTH_TEST_SECRET = 'not for children';
        const env = { PATH: process.env.PATH ?? '', GREETING: 'good morning\nÆrø', EMPTY: '' };
        const { output } = await node('console.log(JSON.stringify(process.env))', { env });
        delete process.env.BERTH_TEST_SECRET;
        expect(JSON.parse(output.stdout)).toEqual(env);
      });

      it('takes arguments and variables of more than a megabyte', async () => {
        const large = 'Ærø\n'.repeat(20_000);
        const names = Array.from({ length: 6 }, (_, index) => `LARGE_${index}`);
        const env = { PATH: process.env.PATH ?? '', ...Object.fromEntries(names.map((name) => [name, large])) };
        const script = `
          const all = [...process.argv.slice(1), ...Object.keys(process.env).filter((n) => n !== "PATH").map((n) => process.env[n])];
          console.log(all.length, all.every((text) => text === "Ærø\\n".repeat(20_000)))`;
        const { output } = await node(script, { env, more: Array<string>(6).fill(large) });
        expect(output.stdout).toBe('12 true\n');
      });

      it('refuses more than the system takes', async () => {
        const args = ['x'.repeat(3 * MEBIBYTE)];
        await expect(run({ program: 'true', args })).rejects.toThrow(notStarted(/too large together/));
      });

      it('lets a program close a stream before its end', async () => {
        const { result, output } = await run({
          program: 'sh',
          args: ['-c', 'echo out; exec >&-; sleep 0.2; echo err >&2; exit 4'],
        });
        expect(result).toEqual({ exitCode: 4, signal: null });
        expect(output).toEqual({ stdout: 'out\n', stderr: 'err\n' });
      });

      it("takes a relative directory from the place's own", async () => {
        const outer = await realise(join(scratch, 'outer'));
        const { cwd } = await realise(join(scratch, 'outer', 'inner'));
        expect((await run({ program: 'pwd', args: [], cwd: 'inner' }, outer)).output.stdout).toBe(`${cwd}\n`);
      });

      it.each(['..', '../elsewhere', 'inner/../..'])('starts nothing in %s, out of the place', async (cwd) => {
        const inner = await realise(join(scratch, 'outer', 'inner'));
        await expect(run({ program: 'true', args: [], cwd }, inner)).rejects.toThrow(notStarted(/leads out of/));
      });

      it('tells who the program became before it has ended', async () => {
        const spawned: SpawnedProcess[] = [];
        const { output } = await node('console.log(process.pid)', { onSpawn: (child) => spawned.push(child) });
        expect(spawned).toEqual([
          { pid: expect.any(Number), processGroupId: expect.any(Number), startedAt: expect.any(Date) },
        ]);
        expect(output.stdout).toBe(`${spawned[0].pid}\n`);
      });

      it('gives a program that reads its input an empty one', async () => {
        expect((await run({ program: 'cat', args: [] })).output.stdout).toBe('');
      });
    });

    describe('execute, of what cannot be started', () => {
      it('names the program that is missing', async () => {
        await expect(run({ program: 'no-such-program-anywhere', args: [] })).rejects.toThrow(
          notStarted(/"no-such-program-anywhere".*was not found/),
        );
      });

      it('names a file that is not executable', async () => {
        const file = join(scratch, 'not-executable');
        await writeFile(file, '#!/bin/sh\n', { mode: 0o644 });
        await expect(run({ program: file, args: [] })).rejects.toThrow(notStarted(/not executable/));
      });

      it('names the directory that is missing', async () => {
        const cwd = join(scratch, 'not', 'there');
        await expect(run({ program: 'true', args: [], cwd })).rejects.toThrow(notStarted(/not\/there does not exist/));
      });

      it('refuses an argument that no program can be given', async () => {
        await expect(run({ program: 'true', args: ['a\0b'] })).rejects.toThrow(CommandNotStartedError);
      });

      it('starts nothing once the run has been ended', async () => {
        const spawned: SpawnedProcess[] = [];
        const onSpawn = (child: SpawnedProcess) => void spawned.push(child);
        const promise = run({ program: 'true', args: [], signal: AbortSignal.abort(), onSpawn });
        await expect(promise).rejects.toThrow(CommandNotStartedError);
        expect(spawned).toEqual([]);
      });
    });

    describe('execute, of much output', () => {
      const print = (mebibytes: number) => `
        const block = Buffer.alloc(${MEBIBYTE}, 'x');
        for (let i = 0; i < ${mebibytes}; i++) require('node:fs').writeSync(1, block);`;

      it('delivers 300 MiB without keeping them', async () => {
        let bytes = 0;
        let highest = 0;
        const before = process.memoryUsage().rss;
        await node(print(300), {
          onOutput: (_stream, chunk) => {
            bytes += chunk.length;
            highest = Math.max(highest, process.memoryUsage().rss);
          },
        });
        expect(bytes).toBe(300 * MEBIBYTE);
        expect((highest - before) / MEBIBYTE).toBeLessThan(120);
      });

      it('lets the program wait while its output is not taken', async () => {
        const taking = gate();
        let bytes = 0;
        const ended = node(print(8), {
          onOutput: async (_stream, chunk) => {
            bytes += chunk.length;
            await taking.opened;
          },
        });
        await new Promise((resolve) => setTimeout(resolve, 300));
        expect(bytes).toBeLessThan(MEBIBYTE);
        taking.open();
        expect((await ended).result.exitCode).toBe(0);
        expect(bytes).toBe(8 * MEBIBYTE);
      });

      it('delivers in order, one piece at a time, all that was written before the end', async () => {
        let delivering = 0;
        const seen: string[] = [];
        await node('for (let i = 0; i < 20000; i++) console.log(i)', {
          onOutput: async (_stream, chunk) => {
            expect(++delivering).toBe(1);
            await new Promise((resolve) => setImmediate(resolve));
            seen.push(chunk.toString());
            delivering--;
          },
        });
        expect(seen.join('').trimEnd().split('\n')).toEqual(Array.from({ length: 20000 }, (_, i) => String(i)));
      });

      it('ends the program and fails when its output is refused', async () => {
        const refusal = new Error('the lease is gone');
        const spawned: SpawnedProcess[] = [];
        const promise = node('console.log("x"); setInterval(() => {}, 1000)', {
          onSpawn: (child) => spawned.push(child),
          onOutput: () => Promise.reject(refusal),
        });
        await expect(promise).rejects.toBe(refusal);
        expect(isGroupRunning(spawned[0].processGroupId)).toBe(false);
      });
    });

    describe('execute, of what shall end', () => {
      it('ends the program by SIGTERM and keeps what it still says', async () => {
        const { result, output } = await abortOnceItSpeaks(
          'process.on("SIGTERM", () => { console.log("bye"); process.exit(3); });',
        );
        expect(result).toEqual({ exitCode: 3, signal: null });
        expect(output.stdout).toBe('ready\nbye\n');
      });

      it('kills a program that ignores SIGTERM, once the grace is over', async () => {
        const started = performance.now();
        const { result } = await abortOnceItSpeaks('process.on("SIGTERM", () => {});', 300);
        expect(result).toEqual({ exitCode: null, signal: 'SIGKILL' });
        expect(performance.now() - started).toBeGreaterThan(300);
      });

      it('gives it the grace that there is when it is to be ended', async () => {
        const abort = new AbortController();
        let graceMs = 60_000;
        const { result } = await run({
          program: 'sh',
          args: ['-c', `trap '' TERM; echo ready; while :; do sleep 1; done`],
          signal: abort.signal,
          get graceMs() {
            return graceMs;
          },
          onOutput: () => {
            graceMs = 200;
            abort.abort();
          },
        });
        expect(result).toEqual({ exitCode: null, signal: 'SIGKILL' });
      });

      it('ends what the program left behind in its group, even what ignores SIGTERM', async () => {
        const spawned: SpawnedProcess[] = [];
        const { result, output } = await run({
          program: 'sh',
          args: ['-c', `sh -c 'trap "" TERM; echo ready; while :; do sleep 1; done' & sleep 0.3; echo leader done`],
          graceMs: 200,
          onSpawn: (child) => spawned.push(child),
        });
        expect(result).toEqual({ exitCode: 0, signal: null });
        expect(output.stdout).toBe('ready\nleader done\n');
        expect(isGroupRunning(spawned[0].processGroupId)).toBe(false);
      });

      it('ends the whole tree of a program that is aborted', async () => {
        const spawned: SpawnedProcess[] = [];
        const abort = new AbortController();
        await run({
          program: 'sh',
          args: ['-c', '(sleep 600 & sleep 600) & echo ready; wait'],
          signal: abort.signal,
          onSpawn: (child) => spawned.push(child),
          onOutput: () => abort.abort(),
        });
        expect(isGroupRunning(spawned[0].processGroupId)).toBe(false);
      });

      it('does not wait for a process that left the group and keeps the output open', async () => {
        const detach = `
          const { spawn } = require('node:child_process');
          const child = spawn('sleep', ['600'], { detached: true, stdio: 'inherit' });
          child.unref(); console.log(child.pid);`;
        const { result, output } = await node(detach);
        process.kill(Number(output.stdout));
        expect(result).toEqual({ exitCode: 0, signal: null });
      });

      it('does not read for ever what such a process writes', async () => {
        const detach = `
          const { spawn } = require('node:child_process');
          spawn('sh', ['-c', 'echo pid $$; exec yes'], { detached: true, stdio: 'inherit' }).unref();
          setTimeout(() => {}, 200);`;
        const { result, output } = await node(detach);
        process.kill(Number(/pid (\d+)/.exec(output.stdout)?.[1]), 'SIGKILL');
        expect(result).toEqual({ exitCode: 0, signal: null });
      });
    });

    interface Ran {
      result: CommandResult;
      output: { stdout: string; stderr: string };
    }

    /** Runs a command and collects what it writes; a command's own `onOutput` is called as well. */
    async function run(command: Pick<Command, 'program' | 'args'> & Partial<Command>, at = place): Promise<Ran> {
      const output = { stdout: '', stderr: '' };
      const result = await tested.driver.execute(at, {
        lease: anyLease(),
        env: { PATH: process.env.PATH ?? '' },
        cwd: null,
        signal: new AbortController().signal,
        ...command,
        get graceMs() {
          return command.graceMs ?? 5000;
        },
        onOutput: (stream, chunk) => {
          if (output[stream].length < MEBIBYTE) output[stream] += chunk.toString();
          return command.onOutput?.(stream, chunk);
        },
      });
      return { result, output };
    }

    function node(
      script: string,
      { more = [], ...options }: Partial<Command> & { more?: string[] } = {},
    ): Promise<Ran> {
      return run({ program: process.execPath, args: ['-e', script, '--', ...more], ...options });
    }

    function abortOnceItSpeaks(script: string, graceMs = 5000): Promise<Ran> {
      const abort = new AbortController();
      return node(`${script} console.log("ready"); setInterval(() => {}, 1000)`, {
        graceMs,
        signal: abort.signal,
        onOutput: () => abort.abort(),
      });
    }
  });
}

const notStarted = (message: RegExp) => {
  const error = new CommandNotStartedError('');
  return expect.objectContaining({ code: error.code, message: expect.stringMatching(message) });
};

function gate() {
  let open = () => {};
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}
