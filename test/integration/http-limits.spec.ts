import { connect } from 'node:net';
import { request, type IncomingHttpHeaders } from 'node:http';
import { ApiClient, type Refusal } from '../support/api-client.js';
import { Scenario } from '../support/scenario.js';
import { startStillApp } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';
import { StreamClient } from './activity-stream-client.js';

const PER_MINUTE = 20;

interface RawAnswer {
  status: number | undefined;
  headers: IncomingHttpHeaders;
  body: unknown;
}

describe('limits of the wire', () => {
  let berth: TestApp;

  beforeAll(async () => {
    berth = await startStillApp({
      config: {
        requestsPerKey: PER_MINUTE,
        requestsPerAddress: PER_MINUTE,
        clientTimeoutSec: 1,
        publicUrl: 'http://berth.example:3100',
      },
    });
  });
  afterAll(() => berth.close());

  /** Not `fetch`, which lets nobody say what browsers say. */
  const send = (
    method: string,
    path: string,
    headers: Record<string, string> = {},
    body?: string,
    { url } = berth,
  ): Promise<RawAnswer> =>
    new Promise((resolve, reject) => {
      request(url + path, { method, headers, agent: false }, (answer) => {
        let text = '';
        answer.on('data', (chunk: Buffer) => (text += chunk.toString()));
        answer.on('end', () => {
          const isJson = answer.headers['content-type']?.includes('json');
          resolve({ status: answer.statusCode, headers: answer.headers, body: isJson ? JSON.parse(text) : text });
        });
      })
        .on('error', reject)
        .end(body);
    });

  /** Writes to the server whatever it is, and reads to the end of the connection. */
  const converse = (text: string): Promise<string> =>
    new Promise((resolve, reject) => {
      let heard = '';
      const socket = connect(Number(new URL(berth.url).port), '127.0.0.1', () => void socket.write(text));
      socket.on('data', (chunk: Buffer) => (heard += chunk.toString()));
      socket.on('error', reject).on('close', () => resolve(heard));
    });

  describe('names of the server', () => {
    it.each([
      '127.0.0.1',
      '127.8.9.10:3100',
      'localhost:80',
      'LOCALHOST',
      '[::1]:3100',
      'berth.example',
      'berth.example:1',
    ])('answers to %s', async (host) => {
      expect((await send('GET', '/api/health/live', { host })).status).toBe(200);
    });

    it.each([
      'evil.example',
      '192.168.1.5',
      'localhost.evil.example',
      '127.0.0.1.evil.example',
      '[::2]',
      'x@localhost',
      '0',
    ])('does not answer to %s', async (host) => {
      for (const path of ['/api/companies', '/docs', '/metrics', '/nowhere']) {
        expect(await send('GET', path, { host })).toMatchObject({ status: 421, body: { code: 'unknown_host' } });
      }
    });

    it('wants to be told a name', async () => {
      expect(await converse('GET /api/companies HTTP/1.0\r\n\r\n')).toMatch(/^HTTP\/1.1 421 [^]*"unknown_host"/);
    });
  });

  describe('web pages', () => {
    const change = (headers: Record<string, string>) => send('POST', '/api/companies', headers, '');

    it.each([
      { origin: 'https://evil.example' },
      { origin: 'null' },
      { origin: 'http://127.0.0.1:1' },
      { origin: 'http://berth.example.evil' },
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
    ])('of another site change nothing: %j', async (headers) => {
      expect(await change(headers as never)).toMatchObject({ status: 403, body: { code: 'foreign_origin' } });
    });

    it('of its own, and programs, may', async () => {
      for (const origin of [berth.url, 'http://berth.example:3100']) {
        expect((await change({ origin, 'sec-fetch-site': 'same-origin' })).status).toBe(400);
      }
      expect((await change({})).status).toBe(400);
    });

    it('of another site can ask for nothing in the name of CORS, and read nothing', async () => {
      const asks = { origin: 'https://evil.example', 'access-control-request-method': 'POST' };
      const answers = [await send('OPTIONS', '/api/companies', asks), await send('GET', '/api/companies', asks)];
      for (const { headers } of answers) {
        expect(Object.keys(headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
      }
    });

    it.each(['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x'])(
      'send no body as %s, which browsers send unasked',
      async (type) => {
        expect(await send('POST', '/api/companies', { 'content-type': type }, '{"name":"x"}')).toMatchObject({
          status: 415,
          body: { code: 'unsupported_media_type' },
        });
      },
    );
  });

  describe('security headers', () => {
    it.each([
      ['an answer', '/api/companies', 200],
      ['a page', '/docs', 200],
      ['the description of the API', '/api/openapi.json', 200],
      ['a refusal of ours', '/api/nowhere', 404],
      ['a refusal of a path that is malformed', '/api/companies/%zz', 400],
      ['a refusal of a path with a part that is too long', `/api/companies/${'x'.repeat(101)}`, 414],
      ['a refusal of what never became a request', `/api/companies?cursor=${'x'.repeat(17_000)}`, 431],
    ])('are sent with %s', async (_what, path, status) => {
      const answer = await send('GET', path);
      expect(answer.status).toBe(status);
      expect(answer.headers).toMatchObject({
        'content-security-policy': expect.stringContaining("default-src 'self'"),
        'x-content-type-options': 'nosniff',
        'x-frame-options': 'DENY',
        'referrer-policy': 'no-referrer',
        'cross-origin-resource-policy': 'same-origin',
        'cross-origin-opener-policy': 'same-origin',
      });
      expect(answer.headers).not.toHaveProperty('set-cookie');
      expect(answer.headers).not.toHaveProperty('strict-transport-security');
    });

    it('are sent with a stream', async () => {
      const companyId = await new Scenario(berth.url).company();
      const client = await StreamClient.open(`${berth.url}/api/companies/${companyId}/activity/stream`);
      expect(client.answer.headers).toMatchObject({
        'content-type': expect.stringContaining('event-stream'),
        'x-frame-options': 'DENY',
      });
      client.cut();
    });
  });

  describe('sizes', () => {
    it('refuses headers above 16 KiB', async () => {
      const answer = await send('GET', '/api/companies', { 'x-long': 'x'.repeat(17_000) });
      expect(answer).toMatchObject({ status: 431, body: { code: 'headers_too_large', error: expect.any(String) } });
    });

    it('refuses an address above 12 KiB', async () => {
      const answer = await send('GET', `/api/companies?cursor=${'x'.repeat(13_000)}`);
      expect(answer).toMatchObject({ status: 414, body: { code: 'path_too_long' } });
    });

    it('refuses a body above 1 MiB, however it is announced', async () => {
      const body = JSON.stringify({ name: 'x'.repeat(1024 * 1024) });
      const json = { 'content-type': 'application/json' };
      const refused = { status: 413, body: { code: 'body_too_large' } };
      expect(await send('POST', '/api/companies', json, body)).toMatchObject(refused);
      expect(await send('POST', '/api/companies', { ...json, 'transfer-encoding': 'chunked' }, body)).toMatchObject(
        refused,
      );
    });

    it('answers what is no HTTP in our words', async () => {
      expect(await converse('BREW\r\n\r\n')).toMatch(
        /^HTTP\/1.1 400 [^]*{"error":"[^"]+","code":"malformed_request"}$/,
      );
    });
  });

  it('answers a request before it refuses what comes after it on the connection', async () => {
    const heard = await converse('DELETE /api/companies HTTP/1.1\r\nHost: localhost\r\n\r\nno request');
    expect(heard).toMatch(/^HTTP\/1.1 404 /);
    expect(heard).not.toContain('HTTP/1.1 400');
  });

  describe('rates', () => {
    /** Where every request needs a key, and no proxy is believed. */
    let harbour: TestApp;
    /** The same, behind a proxy on this machine. */
    let proxied: TestApp;
    let keys: string[];
    let proxiedKey: string;

    beforeAll(async () => {
      const config = { auth: 'authenticated', requestsPerKey: PER_MINUTE, requestsPerAddress: PER_MINUTE } as const;
      let first = '';
      const showFirstKey = (token: string) => (first = token);
      harbour = await startStillApp({ config, showFirstKey });
      const operator = new ApiClient(harbour.url).as(first);
      const made = [1, 2].map(() => operator.post<{ token: string }>('/board-api-keys', { name: 'k' }));
      keys = (await Promise.all(made)).map(({ body }) => body.token);
      proxied = await startStillApp({ config: { ...config, trustedProxies: ['127.0.0.1'] }, showFirstKey });
      proxiedKey = first;
    });
    afterAll(async () => {
      await harbour.close();
      await proxied.close();
    });

    const times = async <T>(count: number, ask: () => Promise<T>) => {
      const answers: T[] = [];
      for (let n = 0; n < count; n++) answers.push(await ask());
      return answers;
    };
    const ask = (app: TestApp, token: string | null, headers: Record<string, string> = {}) => {
      const shown: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` };
      return send('GET', '/api/cli-auth/me', { ...shown, ...headers }, undefined, app);
    };
    const statusOf = async (answer: Promise<RawAnswer>) => (await answer).status;

    it('counts an address that is not of this machine, a whole network of IPv6 as one', async () => {
      const from = (address: string) => ask(proxied, null, { 'x-forwarded-for': address });
      const statuses = (await times(PER_MINUTE + 1, () => from('203.0.113.9'))).map(({ status }) => status);
      expect(statuses).toEqual([...Array<number>(PER_MINUTE).fill(401), 429]);
      const refused = await from('203.0.113.9');
      expect(refused).toMatchObject({ body: { code: 'too_many_requests', details: { perMinute: PER_MINUTE } } });
      expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
      expect((await from('203.0.113.10')).status).toBe(401);
      await times(PER_MINUTE, () => from('2001:db8::1'));
      expect((await from('2001:db8::2')).status).toBe(429);
    });

    it('counts right and wrong credentials of such an address alike', async () => {
      const headers = { 'x-forwarded-for': '203.0.113.11' };
      const right = await times(PER_MINUTE / 2, () => statusOf(ask(proxied, proxiedKey, headers)));
      const wrong = await times(PER_MINUTE / 2, () => statusOf(ask(proxied, 'guessed', headers)));
      expect(right.concat(wrong)).toEqual([
        ...Array<number>(PER_MINUTE / 2).fill(200),
        ...Array<number>(PER_MINUTE / 2).fill(401),
      ]);
      expect(await statusOf(ask(proxied, proxiedKey, headers))).toBe(429);
    });

    it('counts no operator on this machine who needs no credential', async () => {
      const answers = await times(2 * PER_MINUTE, () => send('GET', '/api/cli-auth/me'));
      expect(answers.every(({ status }) => status === 200)).toBe(true);
    });

    it('counts who shows no good credential on this machine, and lets others and probes pass', async () => {
      const [lately, later] = keys;
      expect(await statusOf(ask(harbour, lately))).toBe(200);
      const wrong = await times(2 * PER_MINUTE, () => statusOf(ask(harbour, 'guessed')));
      expect(wrong.slice(0, 2)).toEqual([401, 401]);
      expect(wrong.slice(PER_MINUTE)).toEqual(Array<number>(PER_MINUTE).fill(429));
      expect(await statusOf(ask(harbour, null))).toBe(429);
      expect(await statusOf(ask(harbour, later))).toBe(429);
      expect(await statusOf(ask(harbour, lately))).toBe(200);
      expect(await statusOf(send('GET', '/api/health/live', {}, undefined, harbour))).toBe(200);
    });

    it('counts each credential by itself, wherever it comes from', async () => {
      const user = new Scenario(berth.url);
      const companyId = await user.company();
      const keyOf = async () => {
        const agentId = await user.agent(companyId, 'true');
        const { body } = await user.api.post<{ token: string }>(`/agents/${agentId}/keys`, { name: 'k' });
        return new ApiClient(`${berth.url}`).as(body.token);
      };
      const [one, other] = [await keyOf(), await keyOf()];
      const statuses = (await times(PER_MINUTE + 1, () => one.get('/agents/me'))).map(({ status }) => status);
      expect(statuses).toEqual([...Array<number>(PER_MINUTE).fill(200), 429]);
      const refused = await one.get<Refusal>('/agents/me');
      expect(refused.body.error).toContain('from this key');
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
      expect((await other.get('/agents/me')).status).toBe(200);
    });
  });

  describe('slow clients', () => {
    it('gives a head that does not arrive an answer, and an end', async () => {
      expect(await converse('GET /api/companies HTTP/1.1\r\nHost: localhost\r\n')).toMatch(
        /^HTTP\/1.1 408 [^]*{"error":"[^"]+","code":"request_timeout"}$/,
      );
    });

    it('gives a body that does not arrive an answer, and an end', async () => {
      const head =
        'POST /api/companies HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100';
      expect(await converse(`${head}\r\n\r\n{`)).toMatch(/^HTTP\/1.1 408 /);
    });
  });
});
