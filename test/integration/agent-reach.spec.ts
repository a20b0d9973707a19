import { SignJWT } from 'jose/jwt/sign';
import { decodeJwt } from 'jose/jwt/decode';
import { RUN_TOKEN_PREFIX } from '../../src/auth/run-tokens.js';
import { hashOf } from '../../src/auth/token-hash.js';
import type { ClaimedRun } from '../../src/heartbeat/runs/claimed-run.js';
import type { ApiClient, Refusal } from '../support/api-client.js';
import { eventually } from '../support/eventually.js';
import { Scenario, type Lease, type Run } from '../support/scenario.js';
import { outcome, startStillApp, Steps } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';

describe('what an agent reaches in its own company', () => {
  let app: TestApp;
  let user: Scenario;
  let steps: Steps;
  let companyId: string;
  let ours: ClaimedRun;
  let theirs: ClaimedRun;
  let issueId: string;
  let byRun: ApiClient;
  let byKey: ApiClient;

  beforeAll(async () => {
    app = await startStillApp();
    user = new Scenario(app.url);
    steps = new Steps(app);
    companyId = await user.company();
    issueId = await user.issue(companyId);
    ours = await start(await user.agent(companyId, 'true', { name: 'mate' }));
    theirs = await start(await user.agent(companyId, 'true', { name: 'cook' }), { payload: { issueId } });
    byRun = user.api.as(ours.token);
    const key = await user.api.post<{ token: string }>(`/agents/${ours.agentId}/keys`, { name: 'k' });
    byKey = user.api.as(key.body.token);
  });
  afterAll(() => app.close());

  const start = async (agentId: string, wake: object = {}) => {
    await user.wake(agentId, wake);
    return steps.started();
  };
  const codeOf = async (answer: Promise<{ status: number; body: unknown }>) => {
    const { status, body } = await answer;
    return status < 400 ? status : [status, (body as Refusal).code];
  };

  describe('of runs', () => {
    it.each(['', '/events', '/log', '/issues', '/placement', '/leases'])('is its own%s alone', async (part) => {
      for (const agent of [byRun, byKey]) {
        expect(await codeOf(agent.get(`/heartbeat-runs/${ours.id}${part}`))).toBe(200);
        const refused = [403, 'other_agents_run'];
        expect(await codeOf(agent.get(`/heartbeat-runs/${theirs.id}${part}`))).toEqual(refused);
      }
    });

    it('is its own in lists', async () => {
      const listed = async (path: string, api = byRun) => (await api.get<Run[]>(path)).body.map(({ id }) => id);
      const company = `/companies/${companyId}`;
      expect((await listed(`${company}/heartbeat-runs`, user.api)).toSorted()).toEqual([ours.id, theirs.id].toSorted());
      expect(await listed(`${company}/heartbeat-runs?full=true`)).toEqual([ours.id]);
      expect(await listed(`${company}/heartbeat-runs?agentId=${theirs.agentId}`)).toEqual([]);
      expect(await listed(`${company}/live-runs?minCount=10`)).toEqual([ours.id]);
      expect(await listed(`/issues/${issueId}/runs`)).toEqual([]);
      expect(await listed(`/issues/${issueId}/live-runs`)).toEqual([]);
      expect(await listed(`/issues/${issueId}/live-runs`, user.api)).toEqual([theirs.id]);
    });
  });

  describe('of leases', () => {
    const acts = async (api: ApiClient, { id, fencingToken }: Pick<Lease, 'id' | 'fencingToken'>) => [
      await codeOf(api.patch(`/environment-leases/${id}`, { metadata: { at: 1 }, fencingToken })),
      await codeOf(api.post(`/environment-leases/${id}/renew`, { fencingToken })),
    ];
    const REFUSED = [403, 'other_runs_lease'];

    it('is those of its run, by that run’s token', async () => {
      expect(await acts(byRun, ours.lease)).toEqual([200, 200]);
      expect(await acts(byKey, ours.lease)).toEqual([REFUSED, REFUSED]);
    });

    it('is none of another run’s, though it can read their tokens', async () => {
      const [lease] = (await byRun.get<Lease[]>(`/companies/${companyId}/environment-leases?runId=${theirs.id}`)).body;
      expect(lease.fencingToken).toBe(theirs.lease.fencingToken);
      expect(await acts(byRun, lease)).toEqual([REFUSED, REFUSED]);
      const { id, fencingToken } = lease;
      expect(await codeOf(byRun.post(`/environment-leases/${id}/release`, { fencingToken }))).toEqual(REFUSED);
      expect(await codeOf(byRun.post(`/environment-leases/${id}/release`, { force: true }))).toEqual(REFUSED);
      const all = byRun.post(`/heartbeat-runs/${theirs.id}/leases/release`, { force: true });
      expect(await codeOf(all)).toEqual([403, 'other_agents_run']);
    });

    it('is none of a reservation’s', async () => {
      const { body } = await user.api.post<Lease>(`/companies/${companyId}/environment-leases`, {
        environmentId: ours.environment.id,
        holder: 'somebody',
      });
      expect(await acts(byRun, body)).toEqual([REFUSED, REFUSED]);
      const { id, fencingToken } = body;
      expect(await codeOf(byRun.post(`/environment-leases/${id}/release`, { fencingToken }))).toEqual(REFUSED);
    });
  });

  describe('of issues', () => {
    it('is what is said and done about them, in the name of its run', async () => {
      expect(await codeOf(byRun.patch(`/issues/${issueId}`, { priority: 'high', comment: 'aye' }))).toBe(200);
      const { body } = await user.api.get<{ createdByRunId: string }[]>(`/issues/${issueId}/comments`);
      expect(body[0].createdByRunId).toBe(ours.id);
    });

    it('is not where their runs go', async () => {
      const environmentId = ours.environment.id;
      const refused = [403, 'operator_only'];
      expect(await codeOf(byRun.patch(`/issues/${issueId}`, { environmentId }))).toEqual(refused);
      expect(await codeOf(byRun.post(`/companies/${companyId}/issues`, { title: 't', environmentId }))).toEqual(
        refused,
      );
      expect(await codeOf(user.api.patch(`/issues/${issueId}`, { environmentId }))).toBe(200);
      // Who sends back what it has read changes nothing.
      expect(await codeOf(byRun.patch(`/issues/${issueId}`, { environmentId, title: 'Again' }))).toBe(200);
      expect(await codeOf(byRun.patch(`/issues/${issueId}`, { environmentId: null }))).toEqual(refused);
      const { body } = await user.api.get<{ environmentId: string }>(`/issues/${issueId}`);
      expect(body.environmentId).toBe(environmentId);
    });
  });

  describe('by its run’s token', () => {
    const claims = () => decodeJwt(ours.token.slice(RUN_TOKEN_PREFIX.length));
    const signed = async (changes: object, key?: Buffer) => {
      const [{ run_token_key: kept }] = await app.database.query<{ run_token_key: Buffer }>(
        'select run_token_key from instance',
      );
      const token = new SignJWT({ ...claims(), ...changes }).setProtectedHeader({ alg: 'HS256' });
      return `${RUN_TOKEN_PREFIX}${await token.sign(key ?? kept)}`;
    };
    const keepHash = (token: string, runId = ours.id) =>
      app.database.query('update heartbeat_runs set token_hash = $2 where id = $1', [runId, hashOf(token)]);
    const isHonoured = async (token: string) => (await user.api.as(token).get('/cli-auth/me')).status === 200;

    afterEach(() => keepHash(ours.token));

    it('is bound to run, agent and company, and told nobody else', async () => {
      expect(claims()).toMatchObject({ iss: 'berth', sub: ours.agentId, run: ours.id, company: companyId });
      const rows = await app.database.query('select to_jsonb(r) as row from heartbeat_runs r');
      expect(JSON.stringify(rows)).not.toContain(ours.token);
    });

    it('is refused when it was signed with another key, even if its hash is kept', async () => {
      const forged = await signed({}, Buffer.alloc(32, 1));
      await keepHash(forged);
      expect(await isHonoured(forged)).toBe(false);
    });

    it('is refused when its hash is not kept, even if it was signed with the right key', async () => {
      expect(await isHonoured(await signed({ jti: 'another' }))).toBe(false);
      expect(await isHonoured(ours.token)).toBe(true);
    });

    it.each([
      ['agent', () => ({ sub: theirs.agentId })],
      ['company', () => ({ company: theirs.id })],
      ['issuer', () => ({ iss: 'somebody' })],
    ])(
      'is refused with another %s, even if it was signed with the right key and its hash is kept',
      async (_what, change) => {
        const forged = await signed(change());
        await keepHash(forged);
        expect(await isHonoured(forged)).toBe(false);
      },
    );

    it('is refused unsigned', async () => {
      const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
      const unsigned = `${RUN_TOKEN_PREFIX}${part({ alg: 'none' })}.${part(claims())}.`;
      await keepHash(unsigned);
      expect(await isHonoured(unsigned)).toBe(false);
    });

    it('keeps when it was last shown', async () => {
      const shown = async () => (await user.api.get<{ tokenLastUsedAt: string }>(`/heartbeat-runs/${ours.id}`)).body;
      await byRun.get('/agents/me');
      await eventually(shown, ({ tokenLastUsedAt }) => tokenLastUsedAt !== null);
    });

    it('is refused as soon as the run has ended', async () => {
      const short = await start(await user.agent(companyId, 'true'));
      expect(await isHonoured(short.token)).toBe(true);
      await steps.end(short, outcome.succeeded());
      expect(await isHonoured(short.token)).toBe(false);
    });
  });
});
