import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { Client } from 'pg';
import { checkRecord } from '../../src/activity/verify/verify-record.js';
import { KeptRows } from '../support/kept-rows.js';
import { startStillApp } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';
import { Attacker, type FuzzAnswer } from './attack.js';
import { operationsOf, type Operation } from './operations.js';
import { requestsTo, type FuzzRequest } from './requests.js';
import { FuzzWorld } from './world.js';

const { FUZZ_RUNS = '4', FUZZ_SEED, FUZZ_ONLY = '' } = process.env;
const numRuns = Number(FUZZ_RUNS);
const seed = FUZZ_SEED ? Number(FUZZ_SEED) : Math.floor(Math.random() * 2 ** 31);
/** Of so many requests to an operation, at least one is carried out. */
const ENOUGH_TO_GET_IN = 100;
/** Operations after which the record is looked at as a whole. */
const BATCH = 12;

/** Refusals that no route says of itself: its address, or a body where there is none, is not as HTTP wants it. */
const OF_THE_WIRE = [400, 413, 414, 415];

/** What nobody outside should read: traces, statements, where the program lies. */
const INNARDS = /\n\s+at |node_modules|\.(ts|js):\d+|\bselect .* from |violates|MikroORM|QueryFailed|pg_|SQLSTATE/i;

/**
 * Every operation of the API's description gets requests that are mostly right and hostile somewhere. None may be answered
 * as a failure of ours, hang, tell how things are inside, or leave half of something behind. The short form is part of
 * every test run, `npm run test:fuzz` takes its time and has every operation carried out at least once: what nobody gets
 * into has not been tried. FUZZ_SEED plays a failure again, with as many FUZZ_RUNS; FUZZ_ONLY
 * takes only the operations whose name has this in it.
 */
describe(`the API, whatever is sent to it (FUZZ_SEED=${seed})`, () => {
  let app: TestApp;
  let authenticated: TestApp;
  let world: FuzzWorld;
  let attackers: { trusted: Attacker; authenticated: Attacker };
  let client: Client;
  let keptRows: KeptRows;
  /** Operations that were carried out for somebody. */
  const carriedOut = new Set<Operation>();

  beforeAll(async () => {
    const config = { requestsPerKey: 0, secretsKeys: [randomBytes(32)] };
    app = await startStillApp({ config });
    const { database } = app;
    authenticated = await startStillApp({
      database,
      config: { ...config, auth: 'authenticated' },
      showFirstKey: () => null,
    });
    world = await FuzzWorld.of(app);
    attackers = {
      trusted: new Attacker(new URL(app.url)),
      authenticated: new Attacker(new URL(authenticated.url)),
    };
    client = new Client(database.url);
    await client.connect();
    keptRows = await KeptRows.in(client);
  });
  afterAll(async () => {
    Object.values(attackers).forEach((attacker) => attacker.close());
    await client.end();
    await authenticated.close();
    await app.close();
  });

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
      const before = request.method === 'GET' ? null : await keptRows.read();
      const answer = await attackers[request.authenticated ? 'authenticated' : 'trusted'].send(request);
      expectSound(operation, answer);
      if (answer.status < 300) carriedOut.add(operation);
      // A request that was refused changes nothing.
      else if (before !== null) expect({ ...answer, kept: await keptRows.read() }).toEqual({ ...answer, kept: before });
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
      if (numRuns < ENOUGH_TO_GET_IN) return;
      const never = operations.filter((operation) => !carriedOut.has(operation));
      expect(never.map(({ method, path }) => `${method} ${path}`)).toEqual([]);
    },
    // Far more than it takes: only a hang is ended by this.
    120_000 + numRuns * 30_000,
  );
});

/** The request, and what was wrong with its answer. */
const told = ({ message, cause }: Error) => `${message}\n${cause instanceof Error ? cause.message : ''}`;
