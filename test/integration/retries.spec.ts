import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ReapLeases } from '../../src/heartbeat/ending/reap-leases.js';
import { eventually } from '../support/eventually.js';
import { HandRunner, isAlive, OUTCOMES, type RunRow } from '../support/hand-runner.js';
import { Scenario } from '../support/scenario.js';
import { startTestApp, type TestApp } from '../support/test-app.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';
import { WAKES } from '../support/wakes.js';

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
const alike = (count: number) => Array.from({ length: count });

/** Milliseconds from the end of a run to when its retry is due. */
const waitOf = (ended: RunRow, retry: RunRow) => retry.scheduled_retry_at!.getTime() - ended.finished_at!.getTime();

describe('retries', () => {
  let app: TestApp;
  let user: Scenario;
  let hand: HandRunner;
  let companyId: string;

  beforeAll(async () => {
    app = await startTestApp({ config: { roles: new Set(['api']) } });
    user = new Scenario(app.url);
    hand = new HandRunner(app);
  });
  beforeEach(async () => void (companyId = await user.company()));
  afterAll(() => app.close());

  const agent = (fields: Record<string, unknown> = {}) => user.agent(companyId, 'true', fields);
  const woken = async () => {
    const agentId = await agent();
    const { id } = await user.wake(agentId);
    return { agentId, id };
  };

  type End = 'lost' | 'shutdown' | 'transient';
  /** Starts the agent's run, ends it that way, and answers it with its retry, which is due at once. */
  async function endNext(agentId: string, end: End): Promise<{ run: RunRow; retry: RunRow | undefined }> {
    const claimed = await hand.started(agentId);
    await (end === 'lost' ? hand.lose(claimed) : hand.end(claimed, OUTCOMES[end]));
    const [retry, ...others] = (await hand.successorsOf(claimed.id)) as (RunRow | undefined)[];
    expect(others).toEqual([]);
    if (retry?.status === 'scheduled_retry') await hand.makeDue(retry.id);
    return { run: await hand.row(claimed.id), retry };
  }

  describe('after a loss or a shutdown', () => {
    it('starts a run once more whose runner was lost, and not again', async () => {
      const { agentId } = await woken();
      const first = await endNext(agentId, 'lost');
      expect(first.run).toMatchObject({ status: 'failed', error_code: 'process_lost' });
      expect(first.retry).toMatchObject({
        status: 'queued',
        scheduled_retry_reason: 'process_lost',
        process_loss_retry_count: 1,
      });
      expect((await endNext(agentId, 'lost')).retry).toBeUndefined();
    });

    it('starts a run once more at once whose runner was shut down, outside the budget of losses', async () => {
      const { agentId } = await woken();
      const { run, retry } = await endNext(agentId, 'shutdown');
      expect(run).toMatchObject({ status: 'failed', error_code: 'runner_shutdown' });
      expect(retry).toMatchObject({ status: 'queued', process_loss_retry_count: 0, shutdown_retry_count: 1 });
      expect((await endNext(agentId, 'lost')).retry).toMatchObject({ status: 'queued', process_loss_retry_count: 1 });
      expect((await endNext(agentId, 'shutdown')).retry).toBeUndefined();
    });

    it('records the retry, and says in its context what it follows', async () => {
      const { agentId, id } = await woken();
      const { retry } = await endNext(agentId, 'lost');
      expect(await user.actions(companyId, retry!.id)).toEqual(['heartbeat.retry_scheduled']);
      expect((await user.run(retry!.id)).contextSnapshot).toMatchObject({
        retryOfRunId: id,
        retryReason: 'process_lost',
      });
    });
  });

  describe('after a transient failure', () => {
    it('waits 2 minutes, 10 minutes, half an hour and 2 hours, give or take a quarter, then gives up', async () => {
      const { agentId } = await woken();
      for (const [index, minutes] of [2, 10, 30, 120].entries()) {
        const { run, retry } = await endNext(agentId, 'transient');
        expect(retry).toMatchObject({ status: 'scheduled_retry', scheduled_retry_attempt: index + 1 });
        expect(waitOf(run, retry!)).toBeGreaterThan(0.74 * minutes * MINUTE_MS);
        expect(waitOf(run, retry!)).toBeLessThan(1.26 * minutes * MINUTE_MS);
      }
      expect((await endNext(agentId, 'transient')).retry).toBeUndefined();
    });

    it('is not started before it is due', async () => {
      const { agentId } = await woken();
      const claimed = await hand.started(agentId);
      await hand.end(claimed, OUTCOMES.transient);
      expect(await hand.start(agentId)).toBeNull();
      const [retry] = await hand.successorsOf(claimed.id);
      await hand.makeDue(retry.id);
      expect(await hand.start(agentId)).toMatchObject({ id: retry.id });
    });

    it.each([
      ['waits for a later time that the other side names', 45 * MINUTE_MS, 45 * MINUTE_MS],
      ['waits as usual where the other side names an earlier one', 1000, 2 * MINUTE_MS],
    ])('%s', async (_name, named, expected) => {
      const { agentId } = await woken();
      const claimed = await hand.started(agentId);
      const retryNotBefore = new Date(Date.now() + named).toISOString();
      await hand.end(claimed, { ...OUTCOMES.transient, retryNotBefore });
      const [retry] = await hand.successorsOf(claimed.id);
      const wait = waitOf(await hand.row(claimed.id), retry);
      expect(wait).toBeGreaterThan(0.74 * expected);
      expect(wait).toBeLessThan(1.26 * expected);
    });
  });

  describe('within one budget per chain', () => {
    const all: End[] = ['transient', 'lost', 'transient', 'shutdown', 'transient', 'transient'];

    it.each([
      ['transient ones last', all.toSorted()],
      ['transient ones first', all.toSorted().toReversed()],
    ])('mixes all kinds of ends: %s', async (_name, ends) => {
      const { agentId } = await woken();
      for (const end of ends) expect((await endNext(agentId, end)).retry).toBeDefined();
      const rows = 'select * from heartbeat_runs where agent_id = $1 order by id desc limit 1';
      expect(await app.database.query<RunRow>(rows, [agentId])).toMatchObject([
        { scheduled_retry_attempt: 4, process_loss_retry_count: 1, shutdown_retry_count: 1 },
      ]);
      const [last] = ends;
      expect((await endNext(agentId, last)).retry).toBeUndefined();
    });

    it('asks for a missing comment once, whatever else its chain is retried for', async () => {
      const agentId = await agent();
      await user.issue(companyId, { assigneeAgentId: agentId });
      const reasons: (string | null)[] = [];
      for (const end of ['succeeded', 'lost', 'succeeded'] as const) {
        const claimed = await hand.started(agentId);
        reasons.push((await hand.row(claimed.id)).scheduled_retry_reason);
        await (end === 'lost' ? hand.lose(claimed) : hand.end(claimed));
      }
      expect(reasons).toEqual([null, 'missing_issue_comment', 'process_lost']);
      expect(await hand.start(agentId)).toBeNull();
      const statuses = 'select issue_comment_status as status from heartbeat_runs where agent_id = $1 order by id';
      expect(await app.database.query(statuses, [agentId])).toEqual([
        { status: 'retry_queued' },
        { status: 'not_applicable' },
        { status: 'retry_exhausted' },
      ]);
    });
  });

  describe('at the gate', () => {
    /** An agent whose retry is due, and that retry's id. */
    async function withDueRetry(fields: Record<string, unknown> = {}) {
      const agentId = await agent(fields);
      await user.wake(agentId);
      const { retry } = await endNext(agentId, 'transient');
      return { agentId, retryId: retry!.id };
    }

    it('waits for room under the cap of its agent', async () => {
      const { agentId, retryId } = await withDueRetry({ runtimeConfig: { heartbeat: { maxConcurrentRuns: 1 } } });
      await app.database.query(`update heartbeat_runs set due_at = now() + interval '1 h' where id = $1`, [retryId]);
      await user.wake(agentId);
      const other = await hand.started(agentId);
      await hand.makeDue(retryId);
      expect(await hand.start(agentId)).toBeNull();
      await hand.end(other);
      expect(await hand.start(agentId)).toMatchObject({ id: retryId });
    });

    it('waits while its agent is paused', async () => {
      const { agentId, retryId } = await withDueRetry();
      await user.api.post(`/agents/${agentId}/pause`, { drain: true });
      expect(await hand.start(agentId)).toBeNull();
      await user.api.post(`/agents/${agentId}/resume`);
      expect(await hand.start(agentId)).toMatchObject({ id: retryId });
    });

    it('waits while its environment drains', async () => {
      const fields = { name: 'Pier', driver: 'local' };
      const { body: pier } = await user.api.post<{ id: string }>(`/companies/${companyId}/environments`, fields);
      const { agentId, retryId } = await withDueRetry({ defaultEnvironmentId: pier.id });
      await user.api.post(`/environments/${pier.id}/drain`);
      expect(await hand.start(agentId)).toBeNull();
      await user.api.post(`/environments/${pier.id}/activate`);
      expect(await hand.start(agentId)).toMatchObject({ id: retryId });
    });

    it('waits while another run works on its issue', async () => {
      const agentId = await agent();
      const issueId = await user.issue(companyId, { assigneeAgentId: agentId });
      const { retry } = await endNext(agentId, 'transient');
      const other = await agent();
      await user.wake(other, { payload: { issueId } });
      const run = await hand.started(other);
      expect(await hand.start(agentId)).toBeNull();
      await hand.end(run);
      expect(await hand.start(agentId)).toMatchObject({ id: retry!.id });
    });

    describe('is not started by a runner that has just seen it free', () => {
      it.each([
        ['its agent was paused', (agentId: string) => user.api.post(`/agents/${agentId}/pause`, { drain: true })],
        ['its agent was terminated', (agentId: string) => user.api.post(`/agents/${agentId}/terminate`)],
        ['it was cancelled', (_: string, runId: string) => user.api.post(`/heartbeat-runs/${runId}/cancel`)],
        ['its company was archived', () => user.api.post(`/companies/${companyId}/archive`)],
      ])('when %s', async (_name, happen) => {
        const { agentId, retryId } = await withDueRetry();
        const seen = await hand.look(agentId);
        expect(seen).toMatchObject([{ id: retryId }]);
        expect((await happen(agentId, retryId)).status).toBe(200);
        expect(await hand.claim(seen)).toBeNull();
        expect((await hand.row(retryId)).status).not.toBe('running');
      });

      it('when another run of its agent has taken the last room', async () => {
        const { agentId, retryId } = await withDueRetry({ runtimeConfig: { heartbeat: { maxConcurrentRuns: 1 } } });
        const seen = await hand.look(agentId);
        await app.database.query(`update heartbeat_runs set due_at = now() + interval '1 h' where id = $1`, [retryId]);
        await user.wake(agentId);
        await hand.started(agentId);
        await hand.makeDue(retryId);
        expect(await hand.claim(seen)).toBeNull();
        expect(await hand.row(retryId)).toMatchObject({ status: 'scheduled_retry' });
      });

      it('when its environment was drained', async () => {
        const { agentId } = await withDueRetry();
        const seen = await hand.look(agentId);
        const { body: places } = await user.api.get<{ id: string }[]>(`/companies/${companyId}/environments`);
        await user.api.post(`/environments/${places[0].id}/drain`);
        expect(await hand.claim(seen)).toBeNull();
      });
    });

    it('starts once, however many runners look for it', async () => {
      const { agentId, retryId } = await withDueRetry();
      const starts = await Promise.all(alike(8).map(() => hand.start(agentId)));
      expect(starts.flatMap((run) => run?.id ?? [])).toEqual([retryId]);
    });

    describe('is cancelled', () => {
      /** An agent with a due retry on its issue: of its assignment, or of a comment. */
      async function onIssue(reason: string) {
        const agentId = await agent();
        const issueId = await user.issue(companyId, { assigneeAgentId: agentId });
        if (reason === 'issue_commented') {
          const assigned = await hand.started(agentId);
          await user.api.post(`/issues/${issueId}/comments`, { body: 'What about the rope?' });
          await hand.end(assigned);
        }
        const { retry } = await endNext(agentId, 'transient');
        return { agentId, issueId, retryId: retry!.id };
      }

      async function expectCancelled(runId: string, code: string): Promise<void> {
        expect(await hand.row(runId)).toMatchObject({ status: 'cancelled', error_code: code, lease_id: null });
        const wake = `select status, status_reason from ${WAKES} where run_id = $1`;
        expect(await app.database.query(wake, [runId])).toEqual([{ status: 'cancelled', status_reason: code }]);
        expect(await hand.successorsOf(runId)).toEqual([]);
        expect((await user.actions(companyId, runId)).at(-1)).toBe('heartbeat.cancelled');
      }

      it.each(['issue_assigned', 'issue_commented'])('when its issue was reassigned: %s', async (reason) => {
        const { agentId, issueId, retryId } = await onIssue(reason);
        await user.api.patch(`/issues/${issueId}`, { assigneeAgentId: null });
        expect(await hand.start(agentId)).toBeNull();
        await expectCancelled(retryId, 'issue_reassigned');
      });

      it.each(['done', 'cancelled'])('when its issue was closed: %s', async (status) => {
        const { agentId, issueId, retryId } = await onIssue('issue_assigned');
        await user.api.patch(`/issues/${issueId}`, { status });
        expect(await hand.start(agentId)).toBeNull();
        await expectCancelled(retryId, 'issue_closed');
      });

      it('when a later run of its agent on the issue has succeeded', async () => {
        const { agentId, issueId, retryId } = await onIssue('issue_assigned');
        await app.database.query(`update heartbeat_runs set due_at = now() + interval '1 h' where id = $1`, [retryId]);
        await user.wake(agentId, { payload: { issueId } });
        await hand.end(await hand.started(agentId));
        await expectCancelled(retryId, 'superseded');
      });
    });

    it('stays when a later run on the issue fails, or when another agent succeeds there', async () => {
      const agentId = await agent();
      const issueId = await user.issue(companyId, { assigneeAgentId: agentId });
      const { retry } = await endNext(agentId, 'transient');
      await app.database.query(`update heartbeat_runs set due_at = now() + interval '1 h' where id = $1`, [retry!.id]);
      await user.wake(agentId, { payload: { issueId } });
      await hand.end(await hand.started(agentId), OUTCOMES.failed);
      const other = await agent();
      await user.wake(other, { payload: { issueId } });
      await hand.end(await hand.started(other));
      expect(await hand.row(retry!.id)).toMatchObject({ status: 'scheduled_retry' });
    });

    it('runs a mention again although the issue was never its agent’s', async () => {
      const agentId = await agent({ name: 'Boatswain' });
      const issueId = await user.issue(companyId);
      await user.api.post(`/issues/${issueId}/comments`, { body: 'Have a look, @Boatswain' });
      const { retry } = await endNext(agentId, 'transient');
      expect(await hand.start(agentId)).toMatchObject({ id: retry!.id });
    });
  });

  describe('never twice', () => {
    it('makes one successor of 8 ends at once', async () => {
      for (const _ of alike(3)) {
        const { agentId, id } = await woken();
        const claimed = await hand.started(agentId);
        const ends = alike(7).map(() => hand.end(claimed, OUTCOMES.shutdown));
        await Promise.allSettled([...ends, app.get(ReapLeases).reap()]);
        expect(await hand.row(id)).toMatchObject({ status: 'failed', error_code: 'runner_shutdown' });
        expect(await hand.successorsOf(id)).toHaveLength(1);
      }
    });

    it('makes one successor where finaliser and reaper end a run at once', async () => {
      for (const _ of alike(3)) {
        const { agentId, id } = await woken();
        const claimed = await hand.started(agentId);
        await Promise.allSettled([hand.end(claimed, OUTCOMES.shutdown), hand.lose(claimed), hand.lose(claimed)]);
        expect(await hand.successorsOf(id)).toHaveLength(1);
      }
    });

    it('is refused by the database', async () => {
      const { agentId, id } = await woken();
      await endNext(agentId, 'lost');
      const again = `insert into heartbeat_runs (id, company_id, agent_id, invocation_source, status, retry_of_run_id)
        values (gen_random_uuid(), $1, $2, 'on_demand', 'queued', $3)`;
      await expect(app.database.query(again, [companyId, agentId, id])).rejects.toMatchObject({
        constraint: 'heartbeat_runs_one_successor',
      });
    });
  });

  describe('is not made', () => {
    it.each(['lost', 'shutdown', 'transient'] as const)('of a run that was to be cancelled: %s', async (end) => {
      const { agentId, id } = await woken();
      const claimed = await hand.started(agentId);
      await user.api.post(`/heartbeat-runs/${id}/cancel`);
      await (end === 'lost' ? hand.lose(claimed) : hand.end(claimed, OUTCOMES[end]));
      expect(await hand.row(id)).toMatchObject({ status: 'cancelled', error_code: 'cancelled' });
      expect(await hand.successorsOf(id)).toEqual([]);
    });

    it.each(['terminate', 'pause'])('for an agent that was stopped meanwhile: %s', async (stop) => {
      const { agentId, id } = await woken();
      const claimed = await hand.started(agentId);
      // Without the wish to cancel: the stop itself has to be enough.
      await user.api.post(`/agents/${agentId}/${stop}`, stop === 'pause' ? { drain: true } : {});
      await app.database.query(
        'update heartbeat_runs set cancel_requested_at = null, cancel_at = null, cancel_code = null where id = $1',
        [id],
      );
      await hand.lose(claimed);
      expect(await hand.row(id)).toMatchObject({ status: 'failed', error_code: 'process_lost' });
      expect(await hand.successorsOf(id)).toEqual([]);
    });

    it('of a failure of the agent’s own', async () => {
      const { agentId, id } = await woken();
      await hand.end(await hand.started(agentId), OUTCOMES.failed);
      expect(await hand.successorsOf(id)).toEqual([]);
    });

    it('of a run that could never start', async () => {
      const { agentId, id } = await woken();
      await app.database.query(`update companies set status = 'archived', archived_at = now() where id = $1`, [
        companyId,
      ]);
      await hand.start(agentId);
      expect(await hand.row(id)).toMatchObject({ status: 'failed', error_code: 'company_archived' });
      expect(await hand.successorsOf(id)).toEqual([]);
    });
  });

  it('is made with the end of the run or not at all', async () => {
    const { agentId, id } = await woken();
    const { lease } = await hand.started(agentId);
    await app.database.query(`create function refuse() returns trigger language plpgsql as
      $$ begin raise exception 'no retry today'; end $$`);
    await app.database.query(
      `create trigger refuse before insert on heartbeat_runs for each row when (new.retry_of_run_id is not null)
       execute function refuse()`,
    );
    const expire = `update environment_leases set expires_at = acquired_at + interval '1 ms' where id = $1`;
    await app.database.query(expire, [lease.id]);
    expect(await app.get(ReapLeases).reap()).toBe(0);
    expect(await hand.row(id)).toMatchObject({ status: 'running' });
    await app.database.query('drop trigger refuse on heartbeat_runs');
    await eventually(
      () => hand.successorsOf(id),
      (successors) => successors.length === 1,
    );
    expect(await hand.row(id)).toMatchObject({ status: 'failed', error_code: 'process_lost' });
  });
});

describe('retries of real executions', () => {
  let app: TestApp;
  let user: Scenario;
  let hand: HandRunner;
  let companyId: string;
  let database: TestDatabase;
  let upstream: Server;
  let answer: (response: ServerResponse) => void;

  beforeAll(async () => {
    upstream = createServer((_request, response) => answer(response));
    await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
    database = await createTestDatabase();
    // Short, because a runner learns with its next renewal that it has lost a lease.
    app = await startTestApp({ database, config: { leaseTtlSec: 6, httpAllow: ['127.0.0.1'] } });
    user = new Scenario(app.url);
    hand = new HandRunner(app);
    companyId = await user.company();
  });
  afterAll(async () => {
    await app.close();
    await database.close();
    upstream.close();
  });

  const httpAgent = () => {
    const { port } = upstream.address() as AddressInfo;
    const adapterConfig = { url: `http://127.0.0.1:${port}/run` };
    const fields = { name: 'far away', adapterType: 'http', adapterConfig };
    return user.api.post<{ id: string }>(`/companies/${companyId}/agents`, fields).then(({ body }) => body.id);
  };
  const endOf = async (agentId: string) => {
    const { id } = await user.wake(agentId);
    await user.ended(id);
    const [retry] = (await hand.successorsOf(id)) as (RunRow | undefined)[];
    return { run: await hand.row(id), retry };
  };

  it.each([408, 429, 500, 503])('waits after the answer %i', async (status) => {
    answer = (response) => response.writeHead(status).end();
    const { run, retry } = await endOf(await httpAgent());
    expect(run).toMatchObject({ status: 'failed', error_code: 'transient_upstream' });
    expect(retry).toMatchObject({ status: 'scheduled_retry', scheduled_retry_attempt: 1 });
    expect(waitOf(run, retry!)).toBeLessThan(2.6 * MINUTE_MS);
  });

  it.each([400, 404])('does not after the answer %i', async (status) => {
    answer = (response) => response.writeHead(status).end();
    const { run, retry } = await endOf(await httpAgent());
    expect(run).toMatchObject({ status: 'failed', error_code: `http_${status}` });
    expect(retry).toBeUndefined();
  });

  it.each([
    ['seconds', () => '3600', 60 * MINUTE_MS],
    ['a date', () => new Date(Date.now() + 60 * MINUTE_MS).toUTCString(), 60 * MINUTE_MS],
    ['more than a day', () => '99999999999999999999', DAY_MS],
  ])('waits as long as the other side says: %s', async (_name, retryAfter, expected) => {
    answer = (response) => response.writeHead(429, { 'retry-after': retryAfter() }).end();
    const { run, retry } = await endOf(await httpAgent());
    expect(Math.abs(waitOf(run, retry!) - expected)).toBeLessThan(10_000);
  });

  /** A program that fails, and says on its last line that this will pass. */
  const reports = (report: object) => {
    const line = JSON.stringify({ type: 'result', error_code: 'transient_upstream', ...report });
    return `echo working; echo '${line}'; exit 1`;
  };

  it('waits when a program says that its failure will pass', async () => {
    const { run, retry } = await endOf(await user.agent(companyId, reports({})));
    expect(run).toMatchObject({ status: 'failed', error_code: 'transient_upstream', error: 'Exited with code 1' });
    expect(retry).toMatchObject({ status: 'scheduled_retry' });
  });

  it('waits until the time that a program names', async () => {
    const time = new Date(Date.now() + 60 * MINUTE_MS).toISOString();
    const { run, retry } = await endOf(await user.agent(companyId, reports({ retry_not_before: time })));
    expect(Math.abs(waitOf(run, retry!) - 60 * MINUTE_MS)).toBeLessThan(10_000);
  });

  it.each([
    ['in ten thousand years', '+012026-01-01T00:00:00Z', DAY_MS],
    ['in the year 9999', '9999-12-31T00:00:00Z', DAY_MS],
    ['long gone', '-000044-03-15T00:00:00Z', 2 * MINUTE_MS],
    ['no time at all', 'soon', 2 * MINUTE_MS],
  ])('does not trust a program with any time: %s', async (_name, time, expected) => {
    const { run, retry } = await endOf(await user.agent(companyId, reports({ retry_not_before: time })));
    expect(run).toMatchObject({ error_code: 'transient_upstream' });
    expect(waitOf(run, retry!)).toBeGreaterThan(0.74 * expected);
    expect(waitOf(run, retry!)).toBeLessThan(1.26 * expected);
  });

  it('executes a due retry, and tells it what it follows', async () => {
    const { run, retry } = await endOf(await user.agent(companyId, reports({})));
    await hand.makeDue(retry!.id);
    await user.ended(retry!.id);
    expect((await user.run(retry!.id)).contextSnapshot).toMatchObject({ retryOfRunId: run.id });
    expect(await hand.successorsOf(retry!.id)).toMatchObject([{ scheduled_retry_attempt: 2 }]);
  });

  it('ends the process whose lease was lost, and executes its retry', async () => {
    const agentId = await user.agent(companyId, 'if [ -z "$AGAIN" ]; then sleep 60; fi');
    const { id } = await user.wake(agentId);
    const { processPid } = await eventually(
      () => user.run(id) as Promise<{ processPid?: number }>,
      (run) => typeof run.processPid === 'number',
    );
    await user.api.patch(`/agents/${agentId}`, { adapterConfig: { env: { AGAIN: '1' } } });
    const expire = `update environment_leases set expires_at = acquired_at + interval '1 ms' where heartbeat_run_id = $1`;
    await app.database.query(expire, [id]);
    expect(await user.ended(id)).toMatchObject({ status: 'failed', errorCode: 'process_lost' });
    const [retry] = await hand.successorsOf(id);
    expect(await user.ended(retry.id)).toMatchObject({ status: 'succeeded' });
    await eventually(
      () => Promise.resolve(isAlive(processPid!)),
      (alive) => !alive,
    );
  });

  it('hands a run on at once when its process is shut down', async () => {
    const agentId = await user.agent(companyId, 'if [ -z "$AGAIN" ]; then sleep 60; fi');
    await user.api.patch(`/agents/${agentId}`, { runtimeConfig: { heartbeat: { maxConcurrentRuns: 1 } } });
    const { id } = await user.wake(agentId);
    await user.reached(id, ['running']);
    await user.api.patch(`/agents/${agentId}`, { adapterConfig: { env: { AGAIN: '1' } } });
    const next = await startTestApp({ database });
    await app.close();
    user = new Scenario(next.url);
    app = next;
    hand = new HandRunner(app);
    expect(await user.run(id)).toMatchObject({ status: 'failed', errorCode: 'runner_shutdown' });
    const [retry] = await hand.successorsOf(id);
    expect(await user.ended(retry.id)).toMatchObject({ status: 'succeeded' });
  });
});
