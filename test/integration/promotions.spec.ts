import { Client } from 'pg';
import type { ClaimedRun } from '../../src/heartbeat/runs/claimed-run.js';
import { eventually } from '../support/eventually.js';
import { holdTransaction } from '../support/held-transaction.js';
import { Scenario, type ActivityEntry } from '../support/scenario.js';
import { outcome, startStillApp, Steps } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';
import { rounds } from '../support/rounds.js';
import { WAKES } from '../support/wakes.js';

interface RunRow {
  id: string;
  agent_id: string;
  status: string;
  error_code: string | null;
}

const LIVE = ['queued', 'running'];

describe('what waits for an issue', () => {
  let app: TestApp;
  let user: Scenario;
  let steps: Steps;
  let client: Client;
  let companyId: string;
  let anna: string;
  let bela: string;
  let cora: string;
  let issueId: string;

  beforeAll(async () => {
    app = await startStillApp();
    user = new Scenario(app.url);
    steps = new Steps(app);
    client = new Client(app.database.url);
    await client.connect();
  });
  afterAll(async () => {
    await client.end();
    await app.close();
  });
  beforeEach(async () => {
    await steps.clear();
    companyId = await user.company();
    [anna, bela, cora] = await Promise.all(
      ['anna', 'bela', 'cora'].map((name) => user.agent(companyId, 'true', { name })),
    );
    issueId = await user.issue(companyId);
  });

  const query = async <Row extends object>(sql: string, parameters: unknown[] = []) =>
    (await client.query<Row>(sql, parameters)).rows;
  const wake = async (agentId: string, fields: object = {}) => {
    const answer = await user.wake(agentId, { payload: { issueId, ...fields } });
    return (answer as unknown as { wakeupRequestId: string }).wakeupRequestId;
  };
  /** A run of the agent that works on the issue. */
  const working = async (agentId = anna) => {
    await wake(agentId);
    return steps.started();
  };
  const comment = (body = 'Look at this.') => user.api.post<{ id: string }>(`/issues/${issueId}/comments`, { body });
  const change = (fields: object) => user.api.patch(`/issues/${issueId}`, fields);
  const runs = () =>
    query<RunRow>('select id, agent_id, status, error_code from heartbeat_runs where issue_id = $1 order by id', [
      issueId,
    ]);
  const live = async () => (await runs()).filter(({ status }) => LIVE.includes(status));
  const waiting = async () => {
    const deferred = `select agent_id from agent_wakeup_requests where issue_id = $1 and status = 'deferred_issue_execution'
      order by id`;
    return (await query<{ agent_id: string }>(deferred, [issueId])).map(({ agent_id }) => agent_id);
  };
  const row = async (wakeId: string) =>
    (
      await query<{ status: string; status_reason: string | null; run_id: string | null }>(
        `select status, status_reason, run_id from ${WAKES} where id = $1`,
        [wakeId],
      )
    )[0];
  const finish = (run: ClaimedRun, how = outcome.succeeded()) => steps.end(run, how);
  /** Starts the only live run, and answers whose it is. */
  const next = async () => {
    const run = await steps.started();
    return { agentId: run.agentId, run };
  };

  it('becomes live one at a time, the oldest first', async () => {
    let run = await working();
    await wake(cora);
    await wake(anna);
    await wake(bela);
    await wake(cora);
    for (const [agentId, rest] of [
      [cora, [anna, bela]],
      [anna, [bela]],
      [bela, []],
    ] as const) {
      await finish(run);
      expect(await live()).toMatchObject([{ agent_id: agentId, status: 'queued' }]);
      expect(await waiting()).toEqual(rest);
      run = (await next()).run;
    }
    await finish(run);
    expect(await live()).toEqual([]);
  });

  it.each([
    ['succeeds', (run: ClaimedRun) => steps.end(run, outcome.succeeded())],
    ['fails', (run: ClaimedRun) => steps.end(run, outcome.failed())],
    ['times out', (run: ClaimedRun) => steps.end(run, outcome.timedOut())],
    ['waits for another side', (run: ClaimedRun) => steps.end(run, outcome.transient())],
    [
      'is cancelled',
      async (run: ClaimedRun) => {
        await user.api.post(`/heartbeat-runs/${run.id}/cancel`);
        await steps.end(run, outcome.succeeded());
      },
    ],
    [
      'is cancelled and then lost',
      async (run: ClaimedRun) => {
        await user.api.post(`/heartbeat-runs/${run.id}/cancel`);
        await steps.lose(run);
      },
    ],
    [
      'has its lease taken away',
      (run: ClaimedRun) => user.api.post(`/heartbeat-runs/${run.id}/leases/release`, { force: true }),
    ],
  ])('becomes live when the run before %s', async (_how, end) => {
    const run = await working();
    const id = await wake(bela);
    await end(run);
    const [promoted] = await live();
    expect(promoted).toMatchObject({ agent_id: bela, status: 'queued' });
    expect(await row(id)).toEqual({ status: 'queued', status_reason: null, run_id: promoted.id });
  });

  it.each([
    ['lost', (run: ClaimedRun) => steps.lose(run)],
    ['shut down', (run: ClaimedRun) => steps.end(run, outcome.shutDown())],
  ])('waits on while the run before was %s and is tried again', async (_how, end) => {
    const run = await working();
    await wake(bela);
    await end(run);
    expect(await live()).toMatchObject([{ agent_id: anna, status: 'queued' }]);
    expect(await waiting()).toEqual([bela]);
    await finish((await next()).run);
    expect(await live()).toMatchObject([{ agent_id: bela }]);
  });

  it('becomes live when a queued run is cancelled', async () => {
    await wake(anna);
    await wake(bela);
    const [queued] = await runs();
    await user.api.post(`/heartbeat-runs/${queued.id}/cancel`);
    expect(await live()).toMatchObject([{ agent_id: bela, status: 'queued' }]);
  });

  describe('is ended with its reason once nobody wants it, and the next one looked at:', () => {
    let run: ClaimedRun;
    const endsAs = async (id: string, reason: string) => {
      expect(await row(id)).toEqual({ status: 'cancelled', status_reason: reason, run_id: null });
      const path = `/companies/${companyId}/activity?entityId=${id}`;
      const { body } = await user.api.get<ActivityEntry[]>(path);
      expect(body[0]).toMatchObject({ action: 'heartbeat.skipped', details: { reason, issueId } });
    };

    const deferred = async () =>
      (
        await query<{ id: string }>(`select id from agent_wakeup_requests where status = 'deferred_issue_execution'`)
      ).map(({ id }) => id);

    beforeEach(async () => void (run = await working()));

    it.each(['done', 'cancelled'])('a wake without a comment on an issue that is %s', async (status) => {
      const [first, second] = [await wake(bela), await wake(anna)];
      await comment('What do you say, @cora?');
      await change({ status });
      await finish(run);
      await endsAs(first, 'issue_closed');
      await endsAs(second, 'issue_closed');
      expect(await live()).toMatchObject([{ agent_id: cora, status: 'queued' }]);
    });

    it('a wake for a comment that there is not', async () => {
      const id = await wake(bela, { commentId: crypto.randomUUID() });
      await change({ status: 'done' });
      await finish(run);
      await endsAs(id, 'issue_closed');
    });

    it('a wake of a paused agent', async () => {
      const id = await wake(bela);
      await wake(cora);
      await user.api.post(`/agents/${bela}/pause`);
      await finish(run);
      await endsAs(id, 'agent_paused');
      expect(await live()).toMatchObject([{ agent_id: cora }]);
    });

    it('a wake of a terminated agent, at its termination', async () => {
      const id = await wake(bela);
      await wake(cora);
      await user.api.post(`/agents/${bela}/terminate`);
      await endsAs(id, 'agent_terminated');
      await finish(run);
      expect(await live()).toMatchObject([{ agent_id: cora }]);
    });

    it('a wake of a former assignee', async () => {
      await change({ assigneeAgentId: bela });
      await comment();
      const [id] = await deferred();
      await change({ assigneeAgentId: cora });
      await finish(run);
      await endsAs(id, 'issue_reassigned');
      expect(await live()).toMatchObject([{ agent_id: cora }]);
    });

    it('a wake in an archived company', async () => {
      const id = await wake(bela);
      await user.api.post(`/companies/${companyId}/archive`);
      await finish(run);
      await endsAs(id, 'company_archived');
    });

    it('a wake with a comment on an issue that was deleted', async () => {
      await comment('What do you say, @bela?');
      await steps.abandon(run, outcome.succeeded());
      const [id] = await deferred();
      expect((await user.api.delete(`/issues/${issueId}`)).status).toBe(204);
      await steps.sweep();
      await endsAs(id, 'issue_deleted');
      expect(await live()).toEqual([]);
    });

    it('but not a mention of somebody who was never the assignee', async () => {
      await change({ assigneeAgentId: cora });
      await comment('What do you say, @bela?');
      await change({ assigneeAgentId: null });
      await finish(run);
      expect(await live()).toMatchObject([{ agent_id: bela }]);
    });
  });

  describe('stands in line with due retries', () => {
    /** The agent's retry on the issue, which is not due yet. */
    const retried = async (agentId: string) => {
      await finish(await working(agentId), outcome.transient());
      return (await runs()).at(-1)!.id;
    };

    it('behind an older one', async () => {
      const retry = await retried(anna);
      const run = await working(bela);
      await wake(cora);
      await steps.retriesAreDue();
      await finish(run);
      expect(await live()).toMatchObject([{ id: retry, agent_id: anna, status: 'queued' }]);
      expect(await waiting()).toEqual([cora]);
      expect((await next()).run.id).toBe(retry);
      const path = `/companies/${companyId}/activity?entityId=${retry}`;
      const { body } = await user.api.get<ActivityEntry[]>(path);
      expect(body.map(({ action }) => action).reverse()).toEqual([
        'heartbeat.retry_scheduled',
        'heartbeat.queued',
        'heartbeat.started',
      ]);
    });

    it('before a younger one', async () => {
      const run = await working(anna);
      await wake(bela);
      await wake(cora);
      await finish(run, outcome.transient());
      const { run: second } = await next();
      expect(second.agentId).toBe(bela);
      await steps.retriesAreDue();
      await finish(second, outcome.failed());
      expect(await live()).toMatchObject([{ agent_id: cora, status: 'queued' }]);
      await finish((await next()).run, outcome.failed());
      expect(await live()).toMatchObject([{ agent_id: anna, status: 'queued' }]);
    });

    it('before one that is not due', async () => {
      await retried(anna);
      const run = await working(bela);
      await wake(cora);
      await finish(run);
      expect(await live()).toMatchObject([{ agent_id: cora }]);
      expect((await runs()).map(({ status }) => status)).toContain('scheduled_retry');
    });

    it('behind none that became pointless', async () => {
      await change({ assigneeAgentId: anna });
      await finish(await steps.started(), outcome.transient());
      const retry = (await runs()).at(-1)!.id;
      await change({ assigneeAgentId: null });
      const run = await working(bela);
      await wake(cora);
      await steps.retriesAreDue();
      await finish(run);
      expect(await live()).toMatchObject([{ agent_id: cora }]);
      expect((await runs()).find(({ id }) => id === retry)).toMatchObject({
        status: 'cancelled',
        error_code: 'issue_reassigned',
      });
    });
  });

  describe('is found by a later dispatch pass', () => {
    /** Passes look for such issues now and then. */
    const startedLater = async () =>
      (await eventually(
        () => steps.dispatch(),
        (run) => run !== null,
      ))!;

    it('when whoever ended the run died before it looked', async () => {
      const run = await working();
      const [first, second] = [await wake(bela), await wake(cora)];
      await steps.abandon(run, outcome.succeeded());
      expect(await live()).toEqual([]);
      const promoted = await startedLater();
      expect(promoted.agentId).toBe(bela);
      expect(await row(first)).toMatchObject({ status: 'claimed', run_id: promoted.id });
      expect(await row(second)).toMatchObject({ status: 'deferred_issue_execution' });
    });

    it('and ended where nobody wants it any more', async () => {
      const run = await working();
      const id = await wake(bela);
      await steps.abandon(run, outcome.succeeded());
      await change({ status: 'done' });
      await eventually(
        () => steps.dispatch().then(() => row(id)),
        ({ status }) => status !== 'deferred_issue_execution',
      );
      expect(await live()).toEqual([]);
      expect(await row(id)).toMatchObject({ status: 'cancelled', status_reason: 'issue_closed' });
    });

    it('when its agent was held by somebody when the run ended', async () => {
      const run = await working();
      const id = await wake(bela);
      const other = await holdTransaction(app.database, `update agents set title = 'mate' where id = $1`, [bela]);
      await finish(run).finally(() => other.commit());
      expect(await live()).toEqual([]);
      expect(await row(id)).toMatchObject({ status: 'deferred_issue_execution' });
      expect(await startedLater()).toMatchObject({ agentId: bela });
    });

    it('after the one in which somebody held its issue', async () => {
      const run = await working();
      await wake(bela);
      await steps.abandon(run, outcome.succeeded());
      const other = await holdTransaction(app.database, `update issues set title = 'Mend' where id = $1`, [issueId]);
      expect(await steps.dispatch().finally(() => other.commit())).toBeNull();
      expect(await startedLater()).toMatchObject({ agentId: bela });
    });
  });

  describe('however things fall together', () => {
    /** Nothing is live twice, and nothing waits where nothing is live, once the next pass has looked. */
    const isSound = async () => {
      await steps.sweep();
      const found = await live();
      expect(found.length).toBeLessThanOrEqual(1);
      if (found.length === 0) expect(await waiting()).toEqual([]);
      return found;
    };

    it('is never lost between a wake and the end of the run that it waits for', async () => {
      let run = await working();
      for (let round = 0; round < rounds(50); round++) {
        const other = run.agentId === anna ? bela : anna;
        await Promise.all(round % 4 > 1 ? [finish(run), wake(other)] : [wake(other), finish(run)]);
        expect(await isSound()).toMatchObject([{ agent_id: other, status: 'queued' }]);
        run = await steps.started();
      }
    });

    it('is one run of two wakes at once', async () => {
      for (let round = 0; round < rounds(50); round++) {
        issueId = await user.issue(companyId);
        const ids = await Promise.all([wake(anna), wake(round % 2 ? anna : bela)]);
        expect(await isSound()).toHaveLength(1);
        const states = (await Promise.all(ids.map(row))).map(({ status }) => status).sort();
        expect(states).toEqual([round % 2 ? 'coalesced' : 'deferred_issue_execution', 'queued']);
      }
    });

    it('never starts for an agent that is paused at that moment', async () => {
      for (let round = 0; round < rounds(30); round++) {
        const run = await working();
        const id = await wake(bela);
        const pause = () => user.api.post(`/agents/${bela}/pause`);
        const [first, second] = await Promise.all(round % 2 ? [finish(run), pause()] : [pause(), finish(run)]);
        expect([first, second]).toContain(true);
        expect(await isSound()).toEqual([]);
        expect((await row(id)).status).toBe('cancelled');
        await user.api.post(`/agents/${bela}/resume`);
      }
    });

    it('becomes live once, however many passes look for it', async () => {
      const other = await startStillApp({ database: app.database });
      try {
        const passes = [steps, new Steps(other)];
        for (let round = 0; round < rounds(20); round++) {
          const run = await working();
          await wake(bela);
          await wake(cora);
          await steps.abandon(run, outcome.succeeded());
          const started = await Promise.all(passes.map((one) => one.dispatch()));
          const claimed = started.filter((one) => one !== null);
          expect(claimed.length).toBeLessThanOrEqual(1);
          const [found] = await isSound();
          expect(found).toMatchObject({ agent_id: bela });
          expect(await waiting()).toEqual([cora]);
          const second = claimed[0] ?? (await steps.started());
          await Promise.all([finish(second), ...passes.map((one) => one.sweep())]);
          expect(await isSound()).toMatchObject([{ agent_id: cora, status: 'queued' }]);
          await finish(await steps.started());
        }
      } finally {
        await other.close();
      }
    });
  });
});
