import { connect } from 'node:net';
import { request, type IncomingHttpHeaders } from 'node:http';
import { ApiClient, type Refusal } from '../support/api-client.js';
import { Scenario } from '../support/scenario.js';
import { startStillApp } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';

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
        trustedProxies: ['127.0.0.1'],
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
  ): Promise<RawAnswer> =>
    new Promise((resolve, reject) => {
      request(berth.url + path, { method, headers, agent: false }, (answer) => {
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

  it.each(['/api/companies', '/docs', '/api/nowhere', '/api/openapi.json'])(
    'sends security headers with %s',
    async (path) => {
      const { headers } = await send('GET', path);
      expect(headers).toMatchObject({
        'content-security-policy': expect.stringContaining("default-src 'self'"),
        'x-content-type-options': 'nosniff',
        'x-frame-options': 'DENY',
        'referrer-policy': 'no-referrer',
        'cross-origin-resource-policy': 'same-origin',
      });
      expect(headers).not.toHaveProperty('set-cookie');
      expect(headers).not.toHaveProperty('strict-transport-security');
    },
  );

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
    const times = async <T>(count: number, ask: () => Promise<T>) => {
      const answers: T[] = [];
      for (let n = 0; n < count; n++) answers.push(await ask());
      return answers;
    };

    it('counts an address that is not of this machine, a whole network of IPv6 as one', async () => {
      const from = (address: string) => send('GET', '/api/cli-auth/me', { 'x-forwarded-for': address });
      const statuses = (await times(PER_MINUTE + 1, () => from('203.0.113.9'))).map(({ status }) => status);
      expect(statuses).toEqual([...Array<number>(PER_MINUTE).fill(200), 429]);
      const refused = await from('203.0.113.9');
      expect(refused).toMatchObject({ body: { code: 'too_many_requests', details: { perMinute: PER_MINUTE } } });
      expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
      expect((await from('203.0.113.10')).status).toBe(200);
      await times(PER_MINUTE, () => from('2001:db8::1'));
      expect((await from('2001:db8::2')).status).toBe(429);
    });

    it('counts wrong credentials too', async () => {
      const guess = () =>
        send('GET', '/api/cli-auth/me', { 'x-forwarded-for': '203.0.113.11', authorization: 'Bearer guessed' });
      const statuses = (await times(PER_MINUTE + 1, guess)).map(({ status }) => status);
      expect(statuses).toEqual([...Array<number>(PER_MINUTE).fill(401), 429]);
    });

    it('counts no operator on this machine', async () => {
      const answers = await times(2 * PER_MINUTE, () => send('GET', '/api/cli-auth/me'));
      expect(answers.every(({ status }) => status === 200)).toBe(true);
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
