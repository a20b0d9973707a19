import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client } from 'pg';
import { ApiClient } from '../support/api-client.js';
import { eventually } from '../support/eventually.js';
import { requestsOf, type ApiDocument } from '../support/every-list.js';
import { everyRequest } from '../support/every-route.js';
import { nameOf, type Things } from '../support/one-of-everything.js';
import { BLABBER, CONTROL, foundIn, kept, KEPT, PARROT, plain, PLAIN, unescaped } from '../support/planted.js';
import { Scenario } from '../support/scenario.js';
import { startServerProcess, type ServerProcess } from '../support/server-process.js';

type Who = 'operator' | 'agent' | 'run';
/** What somebody was answered. */
interface Shown {
  who: Who;
  path: string;
  status: number;
  text: string;
}

const WHO: readonly Who[] = ['run', 'agent', 'operator'];
/** They take away what others are asked about, or end it. */
const ENDS = /^DELETE|\/(archive|terminate|pause|cancel|revoke|release|forget)$/;

describe('planted secrets', () => {
  let first: ServerProcess;
  let second: ServerProcess;
  let database: Client;
  let echo: Server;
  let user: Scenario;
  let companyId: string;
  /** Where the places of runs are, and the file by which one of them speaks to us. */
  let root: string;
  let callers: Record<Who, ApiClient>;
  const names: Record<string, string> = {};
  const runs: string[] = [];
  let answers: Shown[];
  let changes: Shown[];

  beforeAll(async () => {
    first = await startServerProcess({ BERTH_LOG_LEVEL: 'trace', BERTH_HTTP_ALLOW: '127.0.0.1' });
    user = new Scenario(first.url);
    companyId = await user.company();
    await plantSecrets();
    const url = `postgres://postgres@localhost/berth?host=${path.join(first.home, 'postgres')}`;
    database = new Client(url);
    await database.connect();
    second = await startServerProcess({
      ...{ BERTH_LOG_LEVEL: 'trace', BERTH_ROLES: 'api', BERTH_DATABASE_URL: url },
      BERTH_SECRETS_KEY_FILE: path.join(first.home, 'secrets.key'),
    });
    echo = createServer((request, response) => {
      const { authorization = '', 'x-api-key': key = '' } = request.headers;
      const shown = `${authorization} ${String(key)} ${CONTROL}`;
      const headers = {
        'content-type': 'application/json',
        location: `/${authorization}`,
        'x-request-id': String(key),
      };
      response.writeHead(400, shown, headers).end(JSON.stringify({ result: shown, [shown]: request.headers }));
    });
    await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve));
    root = await mkdtemp(path.join(tmpdir(), 'berth-planted-'));
    await blab();
    await makeMistakes();
    callers = { operator: user.api, agent: user.api.as(await keyOf(names.agentId)), run: await parrot() };
    answers = await readEverything();
    changes = await changeEverything();
  }, 240_000);
  afterAll(async () => {
    echo.close();
    await rm(root, { recursive: true, force: true });
    await database.end();
    await second.stop();
    await first.stop();
    for (const { home } of [first, second]) await rm(home, { recursive: true, force: true });
  });

  async function created(at: string, body: object, api = user.api): Promise<string> {
    const answer = await api.post<{ id: string }>(at, body);
    expect(answer).toMatchObject({ status: 201 });
    return answer.body.id;
  }

  const keyed = () => user.api.with({ 'idempotency-key': 'once' });
  const keyOf = async (agentId: string) =>
    (await user.api.post<{ token: string }>(`/agents/${agentId}/keys`, { name: 'k' })).body.token;

  async function plantSecrets(): Promise<void> {
    for (const [name, value] of Object.entries(KEPT)) {
      const body = { name, value: name === 'rotated' ? `${value}-before` : value };
      const made = await created(`/companies/${companyId}/secrets`, body);
      names.secretId = made;
      if (name === 'rotated') await user.api.post(`/secrets/${made}/rotate`, { value });
      if (name === 'pinned') await user.api.post(`/secrets/${made}/rotate`, { value: 'the-latest-pin' });
    }
  }

  async function blab(): Promise<void> {
    const envVars = { SHARED: { secretRef: 'environment' }, SHARED_SECRET: PLAIN.environment, OTHER_API: second.url };
    const local = { name: 'Local', driver: 'local', envVars };
    names.environmentId = await created(`/companies/${companyId}/environments`, local, keyed());
    const env = {
      ...{ TOKEN: { secretRef: 'agent' }, PEM: { secretRef: 'pem' }, ROTATED: { secretRef: 'rotated' } },
      PINNED: { secretRef: 'pinned', version: 1 },
      API_PASSWORD: { type: 'plain', value: PLAIN.agent },
    };
    const script = `"$NODE" --input-type=module -e "$SCRIPT"`;
    const adapterConfig = {
      command: 'sh',
      args: ['-c', script],
      env: { ...env, NODE: process.execPath, SCRIPT: BLABBER },
    };
    names.agentId = await user.agent(companyId, '', { name: 'blabber', adapterConfig });
    names.issueId = await user.issue(companyId);
    const run = await user.wake(names.agentId, { payload: { issueId: names.issueId } });
    expect(await user.ended(run.id, 60_000)).toMatchObject({ status: 'failed', errorCode: 'adapter_failed' });
    names.runId = run.id;
    names.leaseId = (await user.leases(run.id))[0].id;
    runs.push(run.id);

    const url = `http://127.0.0.1:${(echo.address() as AddressInfo).port}/`;
    const headers = { authorization: { secretRef: 'header' }, 'X-Api-Key': PLAIN.header };
    await failing({ adapterType: 'http', adapterConfig: { url, headers } });
    await failing({
      adapterType: 'http',
      adapterConfig: { url, headers: { ...headers, x: { secretRef: 'brokenHeader' } } },
    });
    await failing({ adapterType: 'http', adapterConfig: { url: 'http://127.0.0.1:1/', headers } });
    await failing({ adapterConfig: { command: 'false', args: [`--password=${PLAIN.agent}`], env } });
    await failing({ adapterConfig: { command: '/no/such/program', args: [], env } });
  }

  /**
   * A run that goes on, and was given what does not stand in any config by now.
   * @returns its voice, at the server that does not execute it.
   */
  async function parrot(): Promise<ApiClient> {
    const { environmentId } = names;
    await user.api.patch(`/environments/${environmentId}`, { config: { directory: 'per_lease', cwd: root } });
    const file = path.join(root, 'token');
    const env = {
      TOKEN: { secretRef: 'agent' },
      PINNED: { secretRef: 'pinned', version: 1 },
      API_PASSWORD: PLAIN.agent,
    };
    const adapterConfig = { command: 'sh', args: ['-c', PARROT], env: { ...env, FILE: file } };
    const body = { name: 'parrot', adapterConfig };
    const agentId = await created(`/companies/${companyId}/agents`, body, keyed());
    const { id: runId } = await user.wake(agentId);
    runs.push(runId);
    const token = await eventually(
      () => readFile(file, 'utf8').catch(() => ''),
      (written) => written.startsWith('berth_run_'),
    );
    await user.api.patch(`/agents/${agentId}`, { adapterConfig: { env: {} }, replaceAdapterConfig: true });
    await user.api.patch(`/environments/${environmentId}`, { envVars: {} });

    const run = new ApiClient(second.url).as(token);
    const voice = run.with({ 'idempotency-key': KEPT.pinned, 'x-request-id': KEPT.pinned });
    const said = [KEPT.agent, KEPT.environment, KEPT.pinned, PLAIN.agent, PLAIN.environment, token, CONTROL].join(' ');
    await created(`/issues/${names.issueId}/comments`, { body: said }, voice);
    await created(`/companies/${companyId}/activity`, { action: 'custom.said', details: { said } }, voice);
    const leases = `/companies/${companyId}/environment-leases`;
    const wish = { environmentId, holder: KEPT.pinned, metadata: { said } };
    names.furtherLeaseId = await created(leases, wish, voice);
    names.reservationId = await created(leases, { ...wish, holder: 'keeper', metadata: {} });
    const workspace = { name: 'w', environmentId, cwd: root };
    names.workspaceId = await created(`/companies/${companyId}/execution-workspaces`, workspace);
    names.placeId = (await user.leases(runId)).find(({ placeId }) => placeId !== null)!.placeId!;

    // An error that nobody expects is logged with the request's address and id.
    await database.query('alter view activity_log rename to activity_log_away');
    const broken = await voice.get(`/companies/${companyId}/activity?action=${encodeURIComponent(KEPT.agent)}`);
    await database.query('alter view activity_log_away rename to activity_log');
    expect(broken.status).toBe(500);
    await eventually(
      () => Promise.resolve(second.output),
      (output) => output.includes('A request failed'),
    );
    return run;
  }

  async function failing(fields: object): Promise<void> {
    const body = { name: 'failing', ...fields };
    const { body: agent } = await user.api.post<{ id: string }>(`/companies/${companyId}/agents`, body);
    const run = await user.wake(agent.id);
    expect(await user.ended(run.id)).toMatchObject({ status: 'failed' });
    runs.push(run.id);
  }

  /** Requests with secrets in them that are refused; what they are answered is looked through as well. */
  const mistakes: string[] = [];
  async function makeMistakes(): Promise<void> {
    const agents = `/companies/${companyId}/agents`;
    const refused = [
      await user.api.post(`/companies/${companyId}/secrets`, { name: 'agent', value: KEPT.agent }),
      await user.api.post(`/companies/${companyId}/secrets`, {
        name: KEPT.agent.repeat(20),
        value: KEPT.agent,
        x: KEPT.agent,
      }),
      await user.api.post(`/secrets/${names.secretId}/rotate`, { value: { nested: KEPT.agent } }),
      await user.api.post(`/secrets/${KEPT.agent}/rotate`, { value: KEPT.agent }),
      await user.api.post(agents, { name: 'a', adapterConfig: { env: { 'A B': KEPT.agent, C: [KEPT.agent] } } }),
      await user.api.post(agents, {
        name: 'a',
        adapterType: 'http',
        adapterConfig: { headers: { 'a b': KEPT.agent } },
      }),
      await user.api.post(`/companies/${companyId}/environments`, {
        name: 'e',
        driver: 'local',
        envVars: { A: [KEPT.agent] },
      }),
    ];
    for (const { status, body } of refused) {
      expect(status).toBeGreaterThanOrEqual(400);
      expect(status).toBeLessThan(500);
      mistakes.push(JSON.stringify(body));
    }
    const malformed = {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: `{"value":"${KEPT.agent}`,
    };
    mistakes.push(await (await fetch(`${first.url}/api/companies/${companyId}/secrets`, malformed)).text());
  }

  const show = async (who: Who, method: string, at: string, body?: unknown): Promise<Shown> => {
    const answer = await callers[who].send(method, at, body);
    const isShownOnce = (name: string) => name === 'token' && method === 'POST' && at.endsWith('keys');
    const text = JSON.stringify(answer.body, (name, value: unknown) => (isShownOnce(name) ? undefined : value));
    return { who, path: at, status: answer.status, text };
  };

  async function readEverything(): Promise<Shown[]> {
    const { body: document } = await user.api.get<ApiDocument>('/openapi.json');
    const others = Object.keys(document.paths).flatMap((at) =>
      /\/(me|verify)$/.test(at) ? at.replace('/api', '') : [],
    );
    expect(others).toHaveLength(3);
    const read: Shown[] = [];
    for (const runId of runs) {
      const every = { companyId, cappedEnvironmentId: names.environmentId };
      const known = { ...every, ...names, runId, middle: new Date().toISOString() };
      const leases = [names.furtherLeaseId, names.reservationId].map((id) => `/environment-leases/${id}`);
      for (const at of [...requestsOf(document, known as never), ...leases, ...others]) {
        if (runId !== runs[0] && !at.includes(runId)) continue;
        for (const who of WHO) read.push(await show(who, 'GET', at));
      }
    }
    for (const { url } of [first, second]) {
      const metrics = await fetch(`${url}/metrics`);
      read.push({ who: 'operator', path: '/metrics', status: metrics.status, text: await metrics.text() });
    }
    return read;
  }

  /** Calls every route that changes something, as everybody; those last that take away what is asked about. */
  async function changeEverything(): Promise<Shown[]> {
    const things = { companyId, keyId: names.agentId, identifier: names.issueId, ...names } as unknown as Things;
    const every = await everyRequest(first.url, (parameter, at) => nameOf(things, parameter, at));
    const changing = every.filter(({ method }) => method !== 'GET');
    const ends = ({ method, path: at }: { method: string; path: string }) => ENDS.test(`${method} ${at}`);
    const changed: Shown[] = [];
    for (const isEnd of [false, true]) {
      for (const { method, path: at, body } of changing.filter((request) => ends(request) === isEnd)) {
        for (const who of WHO) changed.push(await show(who, method, at, body));
      }
    }
    return changed;
  }

  it('are nowhere in the database, save plain ones in the configs that they were written in', async () => {
    const { rows: columns } = await database.query<{ table: string; columns: string[]; bytes: string[] | null }>(
      `select c.relname as table, array_agg(a.attname::text) as columns,
         array_agg(a.attname::text) filter (where a.atttypid = 'bytea'::regtype) as bytes
       from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
       where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') group by 1`,
    );
    const CONFIGS: Record<string, string> = { agents: 'adapter_config', environments: 'env_vars' };
    const found: Record<string, string[]> = {};
    const controls = new Set<string>();
    for (const { table, bytes } of columns) {
      const decoded = (bytes ?? []).map((column) => `|| ' ' || coalesce(encode(t.${column}, 'escape'), '')`).join('');
      const { rows } = await database.query<{ text: string; row: Record<string, unknown> }>(
        `select to_jsonb(t) as row, '' ${decoded} as text from ${table} t`,
      );
      for (const { row, text } of rows) {
        const config = CONFIGS[table];
        const rest = config ? { ...row, [config]: null } : row;
        const all = [foundIn(JSON.stringify(rest) + unescaped(rest) + text)];
        if (config) all.push(foundIn(unescaped(row[config]), kept));
        if (all.flat().length > 0) found[table] = all.flat();
        if ((JSON.stringify(row) + text).includes(CONTROL)) controls.add(table);
      }
    }
    expect(found).toEqual({});
    const written = [
      'activity_rows',
      'environment_leases',
      'heartbeat_run_log_chunks',
      'heartbeat_runs',
      'issue_comments',
      'issues',
    ];
    expect([...controls]).toEqual(expect.arrayContaining(written));
  });

  it('are in no answer of any route, save plain ones in configs that an operator reads', () => {
    const shows = /\/(agents|environments)(\/[\w-]+(\/(pause|resume|terminate|drain|activate|archive))?)?(\?.*)?$/;
    const isConfig = (at: string) => shows.test(at);
    const isOwn = (at: string) => /\/agents\/[\w-]+(\?.*)?$|\/companies\/[\w-]+\/agents(\?.*)?$/.test(at);
    const shown = [...answers, ...changes].filter(({ who, path: at, text }) => {
      const forms = (who === 'operator' && isConfig(at)) || isOwn(at) ? kept : undefined;
      return foundIn(text, forms).length + foundIn(text.replaceAll('\\"', '"'), forms).length > 0;
    });
    expect(shown).toEqual([]);
    expect([...answers, ...changes].filter(({ status }) => status >= 500)).toEqual([]);
    expect(mistakes.flatMap((text) => foundIn(text))).toEqual([]);
    for (const part of ['/log', '/activity', '/comments', '/heartbeat-runs/', '/environment-leases/']) {
      const seen = answers.filter(({ path: at, text }) => at.includes(part) && text.includes(CONTROL));
      expect(seen.length).toBeGreaterThan(0);
    }
    for (const who of WHO) {
      for (const shownTo of [answers, changes]) {
        expect(shownTo.filter((one) => one.who === who && one.status < 300).length).toBeGreaterThan(0);
      }
    }
  });

  it('are in nothing that the stream delivers', async () => {
    const abort = new AbortController();
    const address = `${second.url}/api/companies/${companyId}/activity/stream?from=start`;
    const { body } = await fetch(address, { signal: abort.signal });
    let text = '';
    const { body: record } = await new ApiClient(first.url).get<{ id: string }[]>(`/companies/${companyId}/activity`);
    const reading = (async () => {
      for await (const piece of body!) text += Buffer.from(piece as Uint8Array).toString();
    })().catch(() => undefined);
    await eventually(
      () => Promise.resolve(text),
      (streamed) => record.every(({ id }) => streamed.includes(id)),
    );
    abort.abort();
    await reading;
    expect(text).toContain(CONTROL);
    expect(foundIn(text)).toEqual([]);
  });

  it('are in no log and no file of the servers, nor is the key', async () => {
    const key = (await readFile(path.join(first.home, 'secrets.key'), 'utf8')).trim();
    const forms = [...kept, ...plain, key, Buffer.from(key, 'base64').toString('hex')];
    const files = (await readdir(first.home, { recursive: true, withFileTypes: true })).filter(
      (entry) =>
        entry.isFile() && entry.name !== 'secrets.key' && !path.join(entry.parentPath, '/').includes('/postgres/'),
    );
    expect(files.map(({ name }) => name)).toContain('postgres.log');
    for (const { parentPath, name } of files) {
      expect(foundIn(await readFile(path.join(parentPath, name), 'latin1'), forms)).toEqual([]);
    }
    for (const { output } of [first, second]) {
      expect(output).toContain('Berth is ready');
      expect(foundIn(output, forms)).toEqual([]);
    }
  });

  it('were there to be seen: each was taken out of the log of the run', async () => {
    // One after the other: what is said on both at nearly the same time can come in pieces.
    const log = (await user.log(runs[0], 'stdout')) + (await user.log(runs[0], 'stderr'));
    expect(log).toContain(`"TOKEN":"[redacted]"`);
    expect(log).toContain(`"PAPERCLIP_API_KEY":"[redacted]"`);
    expect(log).toContain(`"API_PASSWORD":"[redacted]"`);
    expect(log).toContain(`"PEM":"[redacted]\\n"`);
    expect(log.match(/\/comments 201/g)).toHaveLength(2);
    expect(log.match(new RegExp(`${CONTROL} \\[redacted\\]`, 'g'))!.length).toBeGreaterThanOrEqual(12);
  });
});
