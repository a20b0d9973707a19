import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InvalidInputError } from '../../src/errors/domain-error.js';
import type { Adapter, AdapterContext } from '../../src/heartbeat/adapters/adapter.port.js';
import { anyLease, guardOfSuite, localDriver } from '../support/local-driver.js';

type Config = Record<string, unknown>;

/** What an adapter brings to the suite: itself, and a config for each way in which an execution can go. */
export interface AdapterUnderTest {
  adapter: Adapter;
  succeeds: Config;
  fails: { config: Config; errorCode: string };
  /** Would last for minutes. */
  lasts: Config;
  /** Each with the field of `adapterConfig` that is wrong. */
  refused: { config: Config; field: string }[];
}

/** What an adapter is given, with a real place to execute in; what is logged is collected. */
export function adapterContext(config: Config, changes: Partial<AdapterContext> = {}) {
  const logged: string[] = [];
  const invoked: Config[] = [];
  const driver = localDriver(scratch, guard);
  const log = (_stream: string, chunk: Buffer | string) => void logged.push(chunk.toString());
  const context: AdapterContext = {
    runId: 'run-1',
    agentId: 'agent-1',
    companyId: 'company-1',
    config,
    contextSnapshot: { wakeReason: 'to test' },
    env: { PATH: process.env.PATH ?? '', PAPERCLIP_RUN_ID: 'run-1' },
    signal: new AbortController().signal,
    stdoutEnd: () => logged.join('') || null,
    invoked: (details) => void invoked.push(details),
    execute: (command) =>
      driver.execute({ providerLeaseId: null, cwd: scratch }, { ...command, lease: anyLease(), onOutput: log }),
    log,
    ...changes,
  };
  return { context, logged, invoked };
}

const scratch = await mkdtemp(join(tmpdir(), 'berth-adapter-'));
const guard = guardOfSuite(scratch);
afterAll(() => rm(scratch, { recursive: true, force: true }));

/** What every adapter promises, whatever it executes. */
export function adapterContract(name: string, make: () => AdapterUnderTest): void {
  describe(`${name}: the contract of adapters`, () => {
    const execute = (config: Config, changes?: Partial<AdapterContext>) => {
      const { adapter } = make();
      adapter.validateConfig(config);
      return adapter.execute(adapterContext(config, changes).context);
    };

    it('says that it succeeded, without an error', async () => {
      const result = await execute(make().succeeds);
      expect(result).toMatchObject({ outcome: 'succeeded', error: null, errorCode: null });
      expect(JSON.parse(JSON.stringify(result.resultJson))).toEqual(result.resultJson);
    });

    it('says that it failed, with a sentence and a code', async () => {
      const { config, errorCode } = make().fails;
      expect(await execute(config)).toMatchObject({ outcome: 'failed', error: expect.stringMatching(/\w/), errorCode });
    });

    it('names a finite limit for every execution', () => {
      const { adapter, succeeds, lasts } = make();
      for (const config of [{}, succeeds, lasts]) {
        const { timeoutSec, idleTimeoutSec } = adapter.limits(config);
        expect(timeoutSec).toBeGreaterThan(0);
        expect(timeoutSec).toBeLessThanOrEqual(86_410);
        expect(idleTimeoutSec ?? 1).toBeGreaterThan(0);
      }
    });

    it('returns promptly when the run shall end, and does not call it a time-out', async () => {
      const abort = new AbortController();
      const executing = execute(make().lasts, { signal: abort.signal });
      setTimeout(() => abort.abort(), 100);
      expect((await executing).outcome).toBe('failed');
    });

    it('starts nothing when the run has ended already', async () => {
      expect((await execute(make().lasts, { signal: AbortSignal.abort() })).outcome).toBe('failed');
    });

    it("lets through what the place or the log throws, which is not the agent's failure", async () => {
      const gone = new Error('the lease is gone');
      const promise = execute(make().succeeds, {
        execute: () => Promise.reject(gone),
        log: () => Promise.reject(gone),
      });
      await expect(promise).rejects.toBe(gone);
    });

    it('takes an agent that is not configured yet, and fails its runs with a sentence', async () => {
      expect(await execute({})).toMatchObject({
        outcome: 'failed',
        error: expect.stringContaining('adapterConfig'),
        errorCode: 'adapter_failed',
      });
    });

    it('names each field of a config that is wrong', () => {
      const { adapter, refused } = make();
      for (const { config, field } of [...refused, { config: { ['a typo']: 1 }, field: 'a typo' }]) {
        expect(problemsOf(() => adapter.validateConfig(config))).toEqual([`adapterConfig.${field}`]);
      }
      const all = Object.assign({}, ...refused.map(({ config }) => config)) as Config;
      expect(problemsOf(() => adapter.validateConfig(all))).toHaveLength(Object.keys(all).length);
    });
  });
}

/** The fields that an `InvalidInputError` names. */
export function problemsOf(check: () => void): string[] {
  try {
    check();
    return [];
  } catch (error) {
    if (!(error instanceof InvalidInputError)) throw error;
    return (error.details as { field: string }[]).map(({ field }) => field);
  }
}
