import fc from 'fast-check';
import { Client } from 'pg';
import { checkRecord } from '../../src/activity/verify/verify-record.js';
import { startStillApp } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';
import { Attacker, type FuzzAnswer } from './attack.js';
import { operationsOf, type Operation } from './operations.js';
import { requestsTo, type FuzzRequest } from './requests.js';
import { FuzzWorld } from './world.js';

const { FUZZ_RUNS = '4', FUZZ_SEED, FUZZ_ONLY = '' } = process.env;
const numRuns = Number(FUZZ_RUNS);
const seed = FUZZ_SEED ? Number(FUZZ_SEED) : Math.floor(Math.random() * 2 ** 31);
/** Operations after which the record is looked at as a whole. */
const BATCH = 12;

/** Refusals that no route says of itself: its address, or a body where there is none, is not as HTTP wants it. */
const OF_THE_WIRE = [400, 413, 414, 415];

/** What nobody outside should read: traces, statements, where the program lies. */
const INNARDS = /\n\s+at |node_modules|\.(ts|js):\d+|\bselect .* from |violates|MikroORM|QueryFailed|pg_|SQLSTATE/i;

/**
 * Every operation of the API's description gets requests that are mostly right and hostile somewhere. None may be answered
 * as a failure of ours, hang, tell how things are inside, or leave half of something behind. The short form is part of
 * every test run, `npm run test:fuzz` takes its time. FUZZ_SEED plays a failure again, with as many FUZZ_RUNS; FUZZ_ONLY
 * takes only the operations whose name has this in it.
 */
describe(`the API, whatever is sent to it (FUZZ_SEED=${seed})`, () => {
  let app: TestApp;
  let world: FuzzWorld;
  let attacker: Attacker;
  let client: Client;

  beforeAll(async () => {
    app = await startStillApp({ config: { requestsPerKey: 0 } });
    world = await FuzzWorld.of(app);
    attacker = new Attacker(new URL(app.url));
    client = new Client(app.database.url);
    await client.connect();
  });
  afterAll(async () => {
    attacker.close();
    await client.end();
    await app.close();
  });

  /** What is kept, in short: a request that was refused changes none of it. */
  const kept = async () =>
    (
      await client.query<{ kept: string }>(
        `select concat_ws(' ', (select max(seq) from activity_log), (select count(*) from agents),
           (select concat(count(*), ' ', max(xmin::text::bigint)) from companies),
           (select concat(count(*), ' ', max(xmin::text::bigint)) from issues),
           (select concat(count(*), ' ', max(xmin::text::bigint)) from issue_comments),
           (select concat(count(*), ' ', max(xmin::text::bigint)) from environments),
           (select concat(count(*), ' ', max(xmin::text::bigint)) from execution_workspaces),
           -- That its token was used is noted on a run whatever it was used for.
           (select md5(string_agg((to_jsonb(r) - 'token_last_used_at')::text, '' order by id)) from heartbeat_runs r),
           (select concat(count(*), ' ', max(xmin::text::bigint)) from environment_leases),
           (select concat(count(*), ' ', max(xmin::text::bigint)) from environment_places),
           (select concat(count(*), ' ', max(xmin::text::bigint)) from agent_wakeup_requests),
           (select count(*) from agent_api_keys), (select count(*) from idempotency_keys)) as kept`,
      )
    ).rows[0].kept;

  const expectSound = ({ statuses }: Operation, answer: FuzzAnswer) => {
    expect(answer.status).toBeLessThan(500);
    if (answer.status < 400) return;
    const refusal = {
      error: expect.stringMatching(/\w/) as string,
      code: expect.stringMatching(/^[a-z][a-z\d_]*$/) as string,
    };
    expect(JSON.parse(answer.text)).toMatchObject(refusal);
    expect(answer.text).not.toMatch(INNARDS);
    expect([...statuses, ...OF_THE_WIRE]).toContain(answer.status);
  };

  const attack = async (operation: Operation) => {
    await world.restore();
    const property = fc.asyncProperty(requestsTo(operation, world), async (request: FuzzRequest) => {
      const before = request.method === 'GET' ? null : await kept();
      const answer = await attacker.send(request);
      expectSound(operation, answer);
      if (before !== null && answer.status >= 400)
        expect({ ...answer, kept: await kept() }).toEqual({ ...answer, kept: before });
    });
    await fc.assert(property, { seed, numRuns, endOnFailure: true });
  };

  const expectSoundRecord = async () => {
    const divergences = (await checkRecord(client)).filter(({ found }) => found > 0);
    expect(divergences).toEqual([]);
  };

  it(
    'answers as described, tells nothing of itself and leaves nothing half done',
    async () => {
      const operations = (await operationsOf(app.url)).filter(({ method, path }) =>
        `${method} ${path}`.includes(FUZZ_ONLY),
      );
      expect(operations.length).toBeGreaterThan(0);
      const failures: string[] = [];
      for (const [at, operation] of operations.entries()) {
        await attack(operation).catch((error: Error) =>
          failures.push(`${operation.method} ${operation.path}: ${told(error)}`),
        );
        if (at % BATCH === BATCH - 1) await expectSoundRecord();
      }
      await expectSoundRecord();
      expect(failures).toEqual([]);
    },
    // Far more than it takes: only a hang is ended by this.
    120_000 + numRuns * 30_000,
  );
});

/** The request, and what was wrong with its answer. */
const told = ({ message, cause }: Error) => `${message}\n${cause instanceof Error ? cause.message : ''}`;
