import { loadData, type DataNames } from '../../bench/data-at-size.ts';
import type { CheckResult } from '../../src/activity/verify/check.js';
import { verifyRecord } from '../../src/activity/verify/verify-record.js';
import { StreamReader } from '../../src/activity/stream-reader.js';
import { Promotions } from '../../src/heartbeat/ending/promotions.js';
import { ReapLeases } from '../../src/heartbeat/ending/reap-leases.js';
import { IdempotencySweep } from '../../src/http/idempotency-sweep.js';
import { RenewLeases } from '../../src/leases/renew-leases.js';
import { CarryOut } from '../../src/retention/carry-out.js';
import { RetentionSweeper } from '../../src/retention/retention-sweeper.js';
import { ApiClient } from '../support/api-client.js';
import { CapturedStatements, type CapturedStatement } from '../support/captured-statements.js';
import { GROWING, GrowthPlans } from '../support/growth-plans.js';
import { requestsOf, type ApiDocument } from '../support/every-list.js';
import { Scenario } from '../support/scenario.js';
import { startTestApp, type TestApp } from '../support/test-app.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

const SIZE = { runs: 2500, live: 40, waiting: 60 };

/** Indexes, and the step that is seen to need each of them. */
const NEEDED = [
  ['activity_rows_action', 'action='],
  ['activity_rows_kind', 'entityType='],
  ['activity_rows_agent', 'activity?agentId='],
  ['activity_rows_run', 'activity?runId='],
  ['activity_rows_entity', 'activity?entityId='],
  ['heartbeat_runs_agent', 'heartbeat-runs?agentId='],
  ['heartbeat_runs_issue', '/issues/'],
  ['environment_leases_unsuccessful', 'environment-leases?status=expired'],
  ['environment_leases_further', 'runId='],
] as const;

describe('the cost of a statement', () => {
  let database: TestDatabase;
  let verified: CheckResult[];
  let plans: GrowthPlans;
  let statements: CapturedStatement[];

  beforeAll(async () => {
    database = await createTestDatabase();
    // What statistics know of is what this test has them know.
    for (const table of GROWING) await database.query(`alter table ${table} set (autovacuum_enabled = off)`);
    const names = await loadData(database.url, SIZE, { checked: true });
    verified = await verifyRecord(database.url, 60);
    const captured = new CapturedStatements();
    const app = await startTestApp({ database });
    try {
      await readEverything(app, names, captured);
      await runThrough(app, names, captured);
    } finally {
      captured.stop();
      await app.close();
    }
    statements = captured.all;
    plans = await GrowthPlans.on(database.url);
  });
  afterAll(async () => {
    await plans.close();
    await database.close();
  });

  const growing = async (among = statements) => {
    const found = [];
    for (const statement of among) {
      const problems = await plans.problemsOf(statement);
      if (problems.length > 0) found.push({ during: statement.step, problems, statement: statement.text });
    }
    return found;
  };

  it('is looked at in data that agree with their record in everything', () => {
    expect(verified.filter(({ found }) => found > 0)).toEqual([]);
  });

  it('is that of logs, too: of what is stored while a run goes on, and with its end', () => {
    const texts = statements
      .map(({ text }) => text)
      .filter((text) => text.includes('insert into heartbeat_run_log_chunks'));
    const ends = texts.filter((text) => text.includes('finished_at = clock_timestamp()'));
    expect([ends.length > 0, texts.length > ends.length]).toEqual([true, true]);
  });

  it('does not grow with the tables, whatever is read, run or looked for', async () => {
    expect(await growing()).toEqual([]);
  });

  it('does not grow either once statistics know of what goes on', async () => {
    await plans.analysed(async () => expect(await growing()).toEqual([]));
  });

  it.each(NEEDED)('grows without %s for %s', async (index, step) => {
    const meant = statements.filter((statement) => statement.step.includes(step));
    await plans.without(index, async () => expect(await growing(meant)).not.toEqual([]));
  });
});

/** Every list, with each of its filters and each value that a filter can have. */
async function readEverything({ url }: TestApp, names: DataNames, captured: CapturedStatements): Promise<void> {
  const api = new ApiClient(url);
  const { body: document } = await api.get<ApiDocument>('/openapi.json');
  for (const path of requestsOf(document, names)) {
    captured.step = path;
    const { status, body } = await api.get(path);
    if (status !== 200) throw new Error(`${path} was answered ${status}: ${JSON.stringify(body)}`);
  }
}

/** Runs that end well and badly, one whose runner died, and what looks after all of them. */
async function runThrough(app: TestApp, names: DataNames, captured: CapturedStatements): Promise<void> {
  const user = new Scenario(app.url);
  captured.step = 'runs';
  await user.api.patch(`/agents/${names.agentId}`, { adapterConfig: { command: 'true' } });
  const ended = await user.wake(names.agentId);
  const { companyId } = names;
  // Says one thing that is stored while it runs, and one that is stored with its end.
  const talkative = await user.agent(companyId, 'echo one; sleep 1; echo two; exit 1');
  const failing = await user.wake(talkative, { payload: { issueId: names.issueId } });
  await user.wake(names.agentId, { payload: { issueId: names.issueId } });
  await user.ended(ended.id);
  await user.ended(failing.id);
  captured.step = 'renewing';
  const held = await app.database.query<{ id: string; token: string }>(
    `select id, fencing_token as token from environment_leases where status = 'active' and company_id = $1 limit 9`,
    [companyId],
  );
  await app.get(RenewLeases).renew(held.map(({ id, token }) => ({ id, fencingToken: Number(token) })));
  captured.step = 'reaping';
  await app.database.query(
    `update environment_leases set expires_at = acquired_at + interval '1 ms'
     where id = (select id from environment_leases where status = 'active' and company_id = $1 limit 1)`,
    [companyId],
  );
  await app.get(ReapLeases).reap();
  captured.step = 'looking after';
  await app.get(Promotions).sweep();
  await app.get(IdempotencySweep).sweep();
  const reader = app.get(StreamReader);
  await reader.read(companyId, await reader.cursorAt('now', companyId));
  await reader.read(companyId, await reader.cursorAt('start', companyId));
  captured.step = 'retention';
  await app.get(RetentionSweeper).sweep();
  // Some of what is older than the middle.
  const before = new Date(Date.parse(names.middle) - 60 * 60 * 1000);
  for (const kind of ['runLogs', 'runs', 'activity'] as const) {
    const { removed } = await app.get(CarryOut).carryOut({ companyId, kind, before }, new AbortController().signal);
    if (removed === 0) throw new Error(`Nothing of ${kind} was due`);
  }
}
