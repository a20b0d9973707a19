import { randomBytes } from 'node:crypto';
import { readdir, readFile, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { Client } from 'pg';
import { ApiClient } from '../support/api-client.js';
import { eventually } from '../support/eventually.js';
import { requestsOf, type ApiDocument } from '../support/every-list.js';
import { Scenario } from '../support/scenario.js';
import { startServerProcess, type ServerProcess } from '../support/server-process.js';

const unique = (what: string) => `${what}/${randomBytes(12).toString('base64url')}+"quoted"`;

/** What is planted. Those that are plain stand in configs as their owner wrote them, and nowhere else. */
const KEPT = {
  agent: unique('agent'),
  environment: unique('environment'),
  rotated: unique('rotated'),
  header: `Bearer ${randomBytes(18).toString('hex')}`,
  brokenHeader: `${unique('broken')}\nheader`,
  pem: `-----BEGIN PRIVATE KEY-----\n${randomBytes(48).toString('base64')}\n${randomBytes(48).toString('base64')}\n-----END PRIVATE KEY-----\n`,
};
const PLAIN = {
  agent: unique('plain-agent'),
  environment: unique('plain-environment'),
  header: randomBytes(18).toString('hex'),
};
/** Said beside every secret: where it is not found, nothing was looked at. */
const CONTROL = 'this-may-be-seen';
/** Of runs, and of agents. */
const ANY_TOKEN = /berth_(run_eyJ[\w.-]{100,}|agent_[0-9a-f-]{36}_[\w-]{43})/;

/** Says everything that it was given, in every way in which it can, to its streams and to both servers. */
const BLABBER = `
  const { env } = process;
  const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const values = ['TOKEN', 'SHARED', 'PEM', 'API_PASSWORD', 'SHARED_SECRET', 'PAPERCLIP_API_KEY'].map((name) => env[name]);
  for (const value of values) {
    for (const stream of [process.stdout, process.stderr]) {
      const half = Math.floor(value.length / 2);
      stream.write('${CONTROL} ' + value.slice(0, half));
      await wait(20);
      stream.write(value.slice(half) + '\\n');
      for (const line of value.split('\\n')) stream.write('  > ' + line + '\\n');
      stream.write(Buffer.from('x' + value).toString('base64') + ' ' + encodeURIComponent(value) + '\\n');
    }
  }
  console.log(JSON.stringify(env));
  const said = values.join(' and ') + ' ${CONTROL}';
  const { PAPERCLIP_COMPANY_ID: company, PAPERCLIP_TASK_ID: issue, PAPERCLIP_LEASE_ID: lease } = env;
  for (const api of [env.PAPERCLIP_API_URL, env.OTHER_API]) {
    const send = async (method, path, body) => {
      const headers = { 'content-type': 'application/json', authorization: 'Bearer ' + env.PAPERCLIP_API_KEY };
      const answer = await fetch(api + '/api' + path, { method, headers, body: JSON.stringify(body) });
      console.log(method, path, answer.status, await answer.text());
    };
    await send('POST', '/issues/' + issue + '/comments', { body: said });
    await send('PATCH', '/issues/' + issue, { description: said });
    await send('POST', '/companies/' + company + '/issues', { title: 'An issue', description: said });
    await send('POST', '/companies/' + company + '/activity', { action: 'custom.said', details: { said, [values[0]]: 1 } });
    const authorization = 'Bearer ' + env.PAPERCLIP_API_KEY;
    const held = await fetch(api + '/api/environment-leases/' + lease, { headers: { authorization } });
    const { fencingToken } = await held.json();
    await send('PATCH', '/environment-leases/' + lease, { metadata: { said }, fencingToken });
    await send('POST', '/companies/' + company + '/secrets', { name: said, value: said });
    await send('POST', '/agents/' + env.PAPERCLIP_AGENT_ID + '/wakeup', { reason: said, payload: { said } });
    await send('GET', '/agents/' + env.PAPERCLIP_AGENT_ID + '?companyId=' + encodeURIComponent(values[0]));
  }
  console.log(JSON.stringify({ type: 'result', result: said, nested: [{ [said]: values }] }));
  process.exitCode = 1;`;

describe('planted secrets', () => {
  let first: ServerProcess;
  let second: ServerProcess;
  let database: Client;
  let echo: Server;
  let user: Scenario;
  let companyId: string;
  let agentToken: string;
  const names: Record<string, string> = {};
  const runs: string[] = [];
  let answers: { path: string; text: string; isOperator: boolean }[];

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
    await blab();
    await makeMistakes();
    answers = await readEverything();
  }, 120_000);
  afterAll(async () => {
    echo.close();
    await database.end();
    await second.stop();
    await first.stop();
    for (const { home } of [first, second]) await rm(home, { recursive: true, force: true });
  });

  async function plantSecrets(): Promise<void> {
    for (const [name, value] of Object.entries(KEPT)) {
      const body = { name, value: name === 'rotated' ? `${value}-before` : value };
      const { body: made } = await user.api.post<{ id: string }>(`/companies/${companyId}/secrets`, body);
      names.secretId = made.id;
      if (name === 'rotated') await user.api.post(`/secrets/${made.id}/rotate`, { value });
    }
  }

  async function blab(): Promise<void> {
    const { body } = await user.api.get<{ id: string }[]>(`/companies/${companyId}/environments`);
    names.environmentId = body[0].id;
    const envVars = { SHARED: { secretRef: 'environment' }, SHARED_SECRET: PLAIN.environment, OTHER_API: second.url };
    await user.api.patch(`/environments/${names.environmentId}`, { envVars });
    const env = {
      ...{ TOKEN: { secretRef: 'agent' }, PEM: { secretRef: 'pem' }, ROTATED: { secretRef: 'rotated' } },
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
    const key = await user.api.post<{ token: string }>(`/agents/${names.agentId}/keys`, { name: 'k' });
    agentToken = key.body.token;
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

  async function readEverything() {
    const { body: document } = await user.api.get<ApiDocument>('/openapi.json');
    const nothing = names.agentId;
    const read = [];
    for (const runId of runs) {
      const every = { companyId, cappedEnvironmentId: names.environmentId, workspaceId: nothing, placeId: nothing };
      const known = { ...every, ...names, runId, middle: new Date().toISOString() };
      for (const at of requestsOf(document, known as never)) {
        if (runId !== runs[0] && !at.includes(runId)) continue;
        for (const isOperator of [true, false]) {
          const headers: Record<string, string> = isOperator ? {} : { authorization: `Bearer ${agentToken}` };
          const answer = await fetch(`${first.url}/api${at}`, { headers });
          read.push({ path: at, text: await answer.text(), isOperator });
        }
      }
    }
    return read;
  }

  /** Every form in which a value is recognised. */
  const formsOf = (value: string) => {
    const lines = value.split('\n').filter((line) => line.length > 20 && !line.startsWith('---'));
    const token = value.replace(/^Bearer /, '');
    return [...lines, token].flatMap((text) => [
      text,
      JSON.stringify(text).slice(1, -1),
      encodeURIComponent(text),
      Buffer.from(text).toString('base64').replace(/.?=*$/, ''),
    ]);
  };
  const kept = Object.values(KEPT).flatMap(formsOf);
  const plain = Object.values(PLAIN).flatMap(formsOf);
  /** What of all that was planted stands in a text. */
  const foundIn = (text: string, forms = [...kept, ...plain]) => [
    ...forms.filter((form) => text.includes(form)),
    ...(ANY_TOKEN.exec(text.replaceAll(agentToken, '')) ?? []).slice(0, 1),
  ];

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

  /** The texts in a JSON value as they are, one below the other. */
  const unescaped = (json: unknown): string => {
    const texts: string[] = [];
    JSON.stringify(json, (name, value: unknown) => {
      texts.push(name, typeof value === 'string' ? value : '');
      return value;
    });
    return texts.join('\n');
  };

  it('are in no answer of any route, save plain ones in configs that an operator reads', () => {
    const isConfig = (at: string, isOperator: boolean) =>
      isOperator && /\/(agents|environments)(\/[\w-]+)?(\?.*)?$/.test(at);
    const isOwn = (at: string) => /\/agents\/[\w-]+(\?.*)?$|\/companies\/[\w-]+\/agents(\?.*)?$/.test(at);
    const shown = answers.filter(({ path: at, text, isOperator }) => {
      const forms = isConfig(at, isOperator) || isOwn(at) ? kept : undefined;
      return foundIn(text, forms).length + foundIn(text.replaceAll('\\"', '"'), forms).length > 0;
    });
    expect(shown).toEqual([]);
    expect(mistakes.flatMap((text) => foundIn(text))).toEqual([]);
    for (const part of ['/log', '/activity', '/comments', '/heartbeat-runs/']) {
      const seen = answers.filter(({ path: at, text }) => at.includes(part) && text.includes(CONTROL));
      expect(seen.length).toBeGreaterThan(0);
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
    const log = await user.log(runs[0]);
    expect(log).toContain(`"TOKEN":"[redacted]"`);
    expect(log).toContain(`"PAPERCLIP_API_KEY":"[redacted]"`);
    expect(log).toContain(`"API_PASSWORD":"[redacted]"`);
    expect(log).toContain(`"PEM":"[redacted]\\n"`);
    expect(log.match(/\/comments 201/g)).toHaveLength(2);
    expect(log.match(new RegExp(`${CONTROL} \\[redacted\\]`, 'g'))!.length).toBeGreaterThanOrEqual(12);
  });
});
