import { StatementFaults } from '../support/statement-faults.js';
import { Scenario } from '../support/scenario.js';
import { outcome, startStillApp, Steps } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';
import type { ClaimedRun } from '../../src/heartbeat/runs/claimed-run.js';
import type { RunOutcome } from '../../src/heartbeat/runs/run-outcome.js';

/** What the runs of one batch are. */
interface Kind {
  readonly onIssue?: boolean;
  /** A wake waits for each one's issue. */
  readonly awaited?: boolean;
  readonly how: () => RunOutcome;
}

describe('what follows from the ends of several runs at once', () => {
  let app: TestApp;
  let user: Scenario;
  let steps: Steps;
  const faults = new StatementFaults();

  beforeAll(async () => {
    app = await startStillApp();
    user = new Scenario(app.url);
    steps = new Steps(app);
  });
  afterAll(async () => {
    faults.stop();
    await app.close();
  });

  async function started(count: number, { onIssue, awaited }: Kind): Promise<ClaimedRun[]> {
    await steps.clear();
    const companyId = await user.company();
    const runs: ClaimedRun[] = [];
    for (let n = 0; n < count; n++) {
      const agentId = await user.agent(companyId, 'true', { name: `deckhand ${n}` });
      const issueId = onIssue ? await user.issue(companyId) : undefined;
      await user.wake(agentId, { payload: { issueId } });
      runs.push(await steps.started());
      if (awaited)
        await user.wake(await user.agent(companyId, 'true', { name: `mate ${n}` }), { payload: { issueId } });
    }
    return runs;
  }

  async function statements(count: number, kind: Kind): Promise<string[]> {
    const runs = await started(count, kind);
    faults.failAt(Infinity);
    expect(await steps.endAll(runs, kind.how())).toBe(count);
    return [...faults.sent];
  }

  const kinds: [what: string, kind: Kind, follows: object][] = [
    ['that succeeded', { how: () => outcome.succeeded() }, { succeeded: 6 }],
    ['that succeeded on issues', { how: () => outcome.succeeded('Done.'), onIssue: true }, { succeeded: 6 }],
    [
      'on whose issues somebody waits',
      { how: () => outcome.succeeded(), onIssue: true, awaited: true },
      { succeeded: 6, queued: 6 },
    ],
    ['that failed', { how: () => outcome.failed() }, { failed: 6 }],
    ['that will be tried again', { how: () => outcome.transient(), onIssue: true }, { failed: 6, scheduled_retry: 6 }],
    ['that were shut down', { how: () => outcome.shutDown() }, { failed: 6, queued: 6 }],
  ];

  it.each(kinds)('takes as many statements as from one: %s', async (_what, kind, follows) => {
    const one = await statements(1, kind);
    const six = await statements(6, kind);
    expect(six).toHaveLength(one.length);
    const rows = await app.database.query<{ status: string; count: number }>(
      'select status, count(*)::integer from heartbeat_runs group by status',
    );
    expect(Object.fromEntries(rows.map(({ status, count }) => [status, count]))).toEqual(follows);
  });

  it('costs no statement, where nothing does', async () => {
    const sent = await statements(1, { how: () => outcome.succeeded() });
    const transition = sent.findIndex((text) => text.includes('update environment_leases'));
    const after = sent.slice(transition + 1).filter((text) => !text.startsWith('insert into'));
    expect(after).toEqual(['commit']);
  });
});
