import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { loadConfig } from '../../src/config/load-config.js';
import { HttpAdapter } from '../../src/heartbeat/adapters/http-adapter.js';
import { adapterContext, adapterContract } from './adapter.contract.js';

const adapterThatMayCall = (...networks: string[]) =>
  new HttpAdapter(loadConfig({ BERTH_HTTP_ALLOW: networks.join(',') }, '/'));
const adapter = adapterThatMayCall('127.0.0.0/8', '::1');
const received: { method?: string; headers: IncomingMessage['headers']; body: string }[] = [];

/** What the agent at the other end does, by path. */
const behaviours: Record<string, (response: ServerResponse) => void> = {
  '/ok': (response) => response.setHeader('content-type', 'application/json').end('{"done":true}'),
  '/busy': (response) => response.writeHead(503).end('come back later'),
  '/moved': (response) => response.writeHead(302, { location: 'http://elsewhere.invalid/' }).end(),
  '/silent': () => undefined,
  '/slow-body': (response) => void response.write('beginning'),
  '/endless': (response) => {
    const more = () => {
      while (!response.destroyed && response.write(Buffer.alloc(64 * 1024, 'x')));
    };
    response.on('drain', more);
    more();
  },
  '/nul': (response) => response.setHeader('content-type', 'application/json').end('{"a":"\\u0000"} '),
  '/deep': (response) =>
    response.setHeader('content-type', 'application/json').end('['.repeat(10_000) + ']'.repeat(10_000)),
  '/binary': (response) => response.end(Buffer.from([0, 0xff, 0xfe, 0x41])),
  '/cut': (response) => {
    response.writeHead(200, { 'content-length': 1000 });
    response.write('half', () => response.destroy());
  },
};

const server = createServer((request, response) => {
  let body = '';
  request.on('data', (chunk: Buffer) => (body += chunk.toString()));
  request.on('end', () => {
    received.push({ method: request.method, headers: request.headers, body });
    behaviours[(request.url ?? '').split('?')[0]]?.(response);
  });
});
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

adapterContract(HttpAdapter.name, () => ({
  adapter,
  succeeds: { url: `${base}/ok` },
  fails: { config: { url: `${base}/busy` }, errorCode: 'transient_upstream' },
  lasts: { url: `${base}/silent`, timeoutMs: 600_000 },
  refused: [
    { config: { url: 'file:///etc/passwd' }, field: 'url' },
    { config: { method: 'BREW' }, field: 'method' },
    { config: { headers: 'x: y' }, field: 'headers' },
    { config: { payloadTemplate: [] }, field: 'payloadTemplate' },
    { config: { timeoutMs: 86_400_001 }, field: 'timeoutMs' },
  ],
}));

describe(HttpAdapter.name, () => {
  const execute = (path: string, config: Record<string, unknown> = {}) =>
    adapter.execute(adapterContext({ url: base + path, ...config }).context);

  it('sends the template with what the run is, which the template cannot replace', async () => {
    await execute('/ok', { payloadTemplate: { kind: 'wake', runId: 'forged' }, headers: { 'X-Key': 'k' } });
    const { method, headers, body } = received.at(-1)!;
    expect(method).toBe('POST');
    expect(headers).toMatchObject({ 'content-type': 'application/json', 'x-key': 'k' });
    expect(JSON.parse(body)).toEqual({
      kind: 'wake',
      runId: 'run-1',
      agentId: 'agent-1',
      companyId: 'company-1',
      context: { wakeReason: 'to test' },
    });
  });

  it('sends no body with GET', async () => {
    await execute('/ok', { method: 'get', payloadTemplate: { a: 1 } });
    expect(received.at(-1)).toMatchObject({ method: 'GET', body: '' });
  });

  it('stores the answer, read as JSON where it is JSON', async () => {
    expect((await execute('/ok')).resultJson).toEqual({
      status: 200,
      headers: { 'content-type': 'application/json', 'content-length': '13' },
      body: '{"done":true}',
      bodyTruncated: false,
      json: { done: true },
    });
  });

  it('stores the answer of a failure too', async () => {
    const result = await execute('/busy');
    expect(result.error).toBe(`POST ${base}/busy answered 503 Service Unavailable`);
    expect(result.resultJson).toMatchObject({ status: 503, body: 'come back later' });
  });

  it('does not follow a redirect', async () => {
    expect(await execute('/moved')).toMatchObject({
      errorCode: 'http_302',
      error: expect.stringContaining('http://elsewhere.invalid/'),
    });
  });

  it('keeps the beginning of an endless answer and reads no further', async () => {
    const { outcome, resultJson } = await execute('/endless');
    expect(outcome).toBe('succeeded');
    expect(resultJson).toMatchObject({ bodyTruncated: true });
    expect((resultJson!.body as string).length).toBe(64 * 1024);
  });

  it('times out when nothing is answered', async () => {
    expect(await execute('/silent', { timeoutMs: 200 })).toMatchObject({ outcome: 'timed_out', errorCode: 'timeout' });
  });

  it('times out in the middle of an answer', async () => {
    expect((await execute('/slow-body', { timeoutMs: 200 })).outcome).toBe('timed_out');
  });

  it('fails when the answer is cut off', async () => {
    expect((await execute('/cut')).errorCode).toBe('http_request_failed');
  });

  it('fails when nobody listens, and says so', async () => {
    const result = await adapter.execute(adapterContext({ url: 'http://localhost:1/' }).context);
    expect(result).toMatchObject({ errorCode: 'http_request_failed', error: expect.stringContaining('ECONNREFUSED') });
  });

  it.each(['/nul', '/deep'])('keeps JSON that the database could not take as text only: %s', async (path) => {
    expect((await execute(path)).resultJson).not.toHaveProperty('json');
  });

  it('keeps bytes that are no text without a NUL character', async () => {
    expect((await execute('/binary')).resultJson).toMatchObject({ body: '\ufffd\ufffd\ufffdA' });
  });

  it('says in the log and the record what was called, without the secrets of its address', async () => {
    const { context, logged, invoked } = adapterContext({
      url: `${base}/ok?token=secret`.replace('//', '//user:password@'),
    });
    await adapter.execute(context);
    expect(logged.join('')).toMatch(/^POST http:\S+\/ok answered \d+ /);
    expect(logged.join('')).not.toMatch(/secret|password/);
    expect(invoked).toEqual([{ method: 'POST', url: `${base}/ok` }]);
  });

  it.each([
    [{ Host: 'x' }, 'Host'],
    [{ 'a b': 'x' }, 'a b'],
    [{ a: 'x\ny' }, 'a'],
    [{ a: 'x\r\nHost: elsewhere' }, 'a'],
    [{ 'a\r\nHost': 'x' }, 'a\r\nHost'],
    [{ a: 'x\0' }, 'a'],
    [{ a: 'x\u0100' }, 'a'],
    [{ 'Transfer-Encoding': 'chunked' }, 'Transfer-Encoding'],
    [{ a: 1 }, 'a'],
  ])('refuses the header %j', (headers, name) => {
    expect(() => adapter.validateConfig({ url: base, headers })).toThrow(
      expect.objectContaining({ details: [expect.objectContaining({ field: `adapterConfig.headers.${name}` })] }),
    );
  });

  it.each([{ a: 'x\r\nb: y' }, { 'a\r\nb': 'y' }, { Host: 'elsewhere' }])(
    'sends nothing with the header %j, however it came into the config',
    async (headers) => {
      const before = received.length;
      expect(await execute('/ok', { headers })).toMatchObject({
        errorCode: 'http_request_failed',
        error: expect.stringMatching(/the header .* is/),
      });
      expect(received).toHaveLength(before);
    },
  );

  describe('places that are not called', () => {
    const { port } = new URL(base);
    const careful = adapterThatMayCall();
    const call = (url: string, caller = careful) => caller.execute(adapterContext({ url }).context);

    it.each([
      ...['127.0.0.1', '127.1', '2130706433', '0x7f.0.0.1', '0177.0.0.1', '0', 'localhost', '[::1]', '[::]'],
      ...['[::ffff:127.0.0.1]', '[::ffff:7f00:1]', '[::127.0.0.1]', '[64:ff9b::7f00:1]', '[2002:7f00:1::]'],
      ...['169.254.169.254', '[fe80::1]', '[::ffff:169.254.169.254]', '[fd00:ec2::254]', '100.100.100.200'],
      ...['224.0.0.1', '255.255.255.255', '[ff02::1]'],
    ])('refuses %s', async (host) => {
      const before = received.length;
      expect(await call(`http://${host}:${port}/ok`)).toMatchObject({
        outcome: 'failed',
        errorCode: 'destination_refused',
        error: expect.stringContaining('BERTH_HTTP_ALLOW'),
      });
      expect(received).toHaveLength(before);
    });

    it('are called where the operator names them, and only those', async () => {
      expect((await call(`${base}/ok`, adapterThatMayCall('127.0.0.1'))).outcome).toBe('succeeded');
      expect((await call(`http://127.0.0.2:${port}/ok`, adapterThatMayCall('127.0.0.1'))).errorCode).toBe(
        'destination_refused',
      );
      expect((await call(`http://[::ffff:127.0.0.1]:${port}/ok`, adapterThatMayCall('127.0.0.0/8'))).outcome).toBe(
        'succeeded',
      );
    });

    it('are not reached by a redirect', async () => {
      behaviours['/inwards'] = (response) => response.writeHead(307, { location: `http://127.0.0.2:${port}/ok` }).end();
      const before = received.length;
      expect(await call(`${base}/inwards`, adapterThatMayCall('127.0.0.1'))).toMatchObject({ errorCode: 'http_307' });
      expect(received).toHaveLength(before + 1);
    });
  });
});
