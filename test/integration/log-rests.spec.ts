import { RunningRuns } from '../../src/heartbeat/execution/running-runs.js';
import { LogBuffer, type LogBatch } from '../../src/heartbeat/logs/log-buffer.js';
import type { LogRow } from '../../src/heartbeat/logs/log-row.js';
import type { RunOutcome } from '../../src/heartbeat/runs/run-outcome.js';
import { LeaseLostError } from '../../src/leases/lease-errors.js';
import { HandRunner, OUTCOMES } from '../support/hand-runner.js';
import { Scenario } from '../support/scenario.js';
import { countSent } from '../support/sent-counts.js';
import { startStillApp } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';

const SAID_AT = new Date('2026-01-02T03:04:05.678Z');

describe('the rests of logs', () => {
  let app: TestApp;
  let user: Scenario;
  let runner: HandRunner;
  let agentId: string;

  beforeAll(async () => {
    app = await startStillApp();
    user = new Scenario(app.url);
    runner = new HandRunner(app);
    agentId = await user.agent(await user.company(), 'true');
  });
  afterAll(() => app.close());

  const started = async () => {
    await user.wake(agentId);
    return runner.started(agentId);
  };
  function rest(text: string, changes: Partial<LogRow> = {}): LogBatch {
    const buffer = new LogBuffer(1024 * 1024);
    buffer.add('stdout', Buffer.from(text), SAID_AT);
    const batch = buffer.takeLast(1024)!;
    return { ...batch, rows: batch.rows.map((row) => ({ ...row, ...changes })) };
  }
  const withLog = (log: LogBatch): RunOutcome => ({ ...OUTCOMES.succeeded, log });
  const stored = async (runId: string) => {
    const rows = await app.database.query<{ text: string }>(
      `select convert_from(content, 'UTF8') as text from heartbeat_run_log_chunks where run_id = $1 order by stream_offset`,
      [runId],
    );
    return rows.map(({ text }) => text);
  };
  const told = async (runId: string) => {
    const columns = 'status, log_bytes::integer as bytes, last_output_at as at';
    const [row] = await app.database.query(`select ${columns} from heartbeat_runs where id = $1`, [runId]);
    return row;
  };

  it('are stored by the statement that ends the runs, each with its own', async () => {
    const runs = [await started(), await started(), await started()];
    const logs = [rest('one\n'), null, rest('three\n')];
    const end = () => Promise.all(runs.map((run, at) => runner.end(run, { ...OUTCOMES.succeeded, log: logs[at] })));
    expect(await countSent(end)).toEqual({ roundTrips: 2, statements: 4, commits: 1 });
    expect(await Promise.all(runs.map(({ id }) => stored(id)))).toEqual([['one\n'], [], ['three\n']]);
    expect(await told(runs[0].id)).toEqual({ status: 'succeeded', bytes: 4, at: SAID_AT });
    expect(await told(runs[1].id)).toEqual({ status: 'succeeded', bytes: 0, at: null });
  });

  it('are not stored of runs whose leases were lost, beside others that end', async () => {
    const [lost, other] = [await started(), await started()];
    await runner.lose(lost);
    const ends = [lost, other].map((run) => runner.end(run, withLog(rest('late\n'))));
    expect(await Promise.allSettled(ends)).toEqual([
      { status: 'rejected', reason: expect.any(LeaseLostError) },
      { status: 'fulfilled', value: undefined },
    ]);
    expect(await stored(lost.id)).toEqual([]);
    expect(await stored(other.id)).toEqual(['late\n']);
  });

  it('do not keep a run from ending, where they cannot be stored', async () => {
    const run = await started();
    const running = app.get(RunningRuns);
    running.add(run);
    await runner.end(run, withLog(rest('what no table takes', { stream: 'elsewhere' as 'stdout' })));
    running.remove(run);
    expect(await told(run.id)).toMatchObject({ status: 'succeeded', bytes: 0 });
    expect(await stored(run.id)).toEqual([]);
  });
});
