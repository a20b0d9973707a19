import { request, type IncomingMessage } from 'node:http';
import { startProbeApp, type ProbeApp } from './http-probe.js';

describe('the conventions of the wire', () => {
  let probe: ProbeApp;

  beforeAll(async () => {
    probe = await startProbeApp();
  });
  afterAll(() => probe.close());

  const call = async (path: string, init: RequestInit = {}) => {
    const answer = await fetch(`${probe.url}/api/probe/${path}`, init);
    const text = await answer.text();
    return { status: answer.status, headers: answer.headers, body: text ? (JSON.parse(text) as never) : null };
  };
  const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
    call(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });

  describe('input', () => {
    it('names every field that is wrong, once', async () => {
      const { status, body } = await post('echo', { name: 5, extra: 1 });
      expect(status).toBe(400);
      expect(body).toMatchObject({
        error: expect.stringContaining('name must be a string'),
        code: 'invalid_input',
        details: expect.arrayContaining([
          { field: 'extra', message: 'extra is not a known field' },
          { field: 'name', message: 'name must be a string' },
        ]),
      });
    });

    it('drops the fields that published clients send for nothing, and only where they are known', async () => {
      expect(await post('echo', { name: 'a', scope: { kind: 'standard' } })).toMatchObject({
        status: 200,
        body: { name: 'a' },
      });
      expect((await post('echo', { name: 'a', budgetMonthlyCents: 0 })).status).toBe(400);
    });

    it.each([['[]'], ['"text"'], ['5'], ['[{"name":"a"}]']])(
      'refuses the body %s, which is no object',
      async (body) => {
        expect(await post('echo', body)).toMatchObject({ status: 400, body: { code: 'invalid_input' } });
      },
    );

    it('takes an empty body that is announced as JSON for none', async () => {
      const { status, body } = await post('echo', '');
      expect(status).toBe(400);
      expect(body).toMatchObject({ details: [{ field: 'name' }] });
    });

    it.each([
      ['a NUL byte', { name: 'a\0b' }],
      ['half a surrogate pair', { name: 'a\ud800' }],
      ['a NUL byte in a name', { name: 'a', 'x\0': 1 }],
    ])('refuses %s', async (_what, body) => {
      expect(await post('echo', body)).toMatchObject({ status: 400, body: { code: 'invalid_input' } });
    });

    it('refuses what is nested so deep that walking it would overflow the stack', async () => {
      const deep = `{"name":${'['.repeat(40_000)}${']'.repeat(40_000)}}`;
      expect(await post('echo', deep)).toMatchObject({ status: 400, body: { code: 'invalid_input' } });
    });

    it('refuses a NUL byte in a path and in a query', async () => {
      expect((await call('things/a%00b')).status).toBe(400);
      expect((await call('pages?cursor=a%00b')).status).toBe(400);
    });

    it('answers an id that is no uuid like an unknown one', async () => {
      expect(await call('things/not-a-uuid')).toMatchObject({ status: 404, body: { code: 'not_found' } });
    });
  });

  describe('refusals by the framework', () => {
    it.each([
      ['malformed JSON', '{"name":', {}, 400, 'malformed_request'],
      ['a poisoned prototype', '{"__proto__":{"x":1}}', {}, 400, 'malformed_request'],
      ['a body that is too large', `{"name":"${'x'.repeat(200_000)}"}`, {}, 413, 'body_too_large'],
      ['another media type', 'name=a', { 'content-type': 'application/xml' }, 415, 'unsupported_media_type'],
      ['plain text', 'name', { 'content-type': 'text/plain' }, 415, 'unsupported_media_type'],
      ['a form', 'name=a', { 'content-type': 'application/x-www-form-urlencoded' }, 415, 'unsupported_media_type'],
    ] as const)('answer %s in our words', async (_what, body, headers, status, code) => {
      const answer = await post('echo', body, headers);
      expect(answer).toMatchObject({ status, body: { error: expect.any(String), code } });
      expect(answer.headers.get('x-request-id')).toBeTruthy();
    });

    it('answer an unknown route, and a path that cannot be decoded', async () => {
      expect(await call('nowhere')).toMatchObject({ status: 404, body: { code: 'unknown_route' } });
      expect(await call('things/%zz')).toMatchObject({ status: 400, body: { code: 'malformed_request' } });
      const outside = await fetch(`${probe.url}/nowhere`);
      expect(outside.status).toBe(404);
      expect(await outside.json()).toMatchObject({ code: 'unknown_route' });
    });
  });

  describe('errors', () => {
    it('says nothing of an unexpected error but where to find it', async () => {
      const { status, headers, body } = await call('crash', { headers: { 'x-request-id': 'find-me' } });
      expect(status).toBe(500);
      expect(body).toEqual({ error: expect.stringContaining('on our side'), code: 'internal' });
      expect(headers.get('x-request-id')).toBe('find-me');
    });

    it.each([
      ['a duplicate', 'insert into instance (id) values (true)', 409, 'conflict'],
      [
        'a broken reference',
        `insert into environments (id, company_id, name, driver) values (gen_random_uuid(), gen_random_uuid(), 'a', 'b')`,
        422,
        'broken_reference',
      ],
      ['a check', 'insert into instance (id) values (false)', 422, 'unacceptable'],
      ['a malformed value', `select 'x'::uuid`, 400, 'invalid_input'],
      ['a statement that took too long', `set local statement_timeout = 1; select pg_sleep(1)`, 503, 'busy'],
      ['a mistake of ours', 'select nothing from nowhere', 500, 'internal'],
      ['a lost connection', 'select pg_terminate_backend(pg_backend_pid())', 503, 'database_unavailable'],
    ])('answers %s that nobody mapped without a word of SQL', async (_what, sql, status, code) => {
      const answer = await post('sql', { name: sql });
      expect(answer).toMatchObject({ status, body: { code } });
      expect(JSON.stringify(answer.body)).not.toMatch(/select|insert|instance|relation|constraint/i);
      expect(answer.headers.get('retry-after')).toBe(status === 503 ? '1' : null);
    });
  });

  describe('the scope of a request', () => {
    it('honours an id of the caller that is harmless, and replaces another', async () => {
      expect((await call('scope', { headers: { 'x-request-id': 'abc-1' } })).body).toMatchObject({
        requestId: 'abc-1',
      });
      const { headers, body } = await call('scope', { headers: { 'x-request-id': 'a b'.repeat(100) } });
      expect(headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
      expect(body).toMatchObject({ requestId: headers.get('x-request-id') });
    });

    it('has the actor that the guard found', async () => {
      expect((await call('scope')).body).toMatchObject({ actor: { type: 'user', id: 'local-operator' } });
      expect((await call('scope', { headers: { authorization: 'Bearer nobody' } })).status).toBe(401);
    });

    it('survives a body that arrives in pieces', async () => {
      const answer = await slowly(`${probe.url}/api/probe/sql`, ['{"name":', '"select 1', ' as one"}']);
      expect(answer).toEqual({ status: 201, body: [{ one: 1 }] });
    });
  });

  it('answers a page as a bare array and says where the next one is', async () => {
    const { headers, body } = await call('pages?limit=2&cursor=MQ');
    expect(body).toEqual([0, 1]);
    expect(headers.get('link')).toBe('</api/probe/pages?limit=2&cursor=MQ>; rel="next"');
    expect((await call('pages?limit=201')).status).toBe(400);
    expect((await call('pages?limit=0')).status).toBe(400);
  });

  it('describes every route under /api/openapi.json, and shows the page', async () => {
    const document = (await (await fetch(`${probe.url}/api/openapi.json`)).json()) as {
      paths: Record<string, Record<string, { responses: Record<string, unknown> }>>;
    };
    const create = document.paths['/api/companies']?.post;
    expect(Object.keys(create?.responses ?? {})).toEqual(
      expect.arrayContaining(['201', '400', '401', '409', '415', '503']),
    );
    expect((await fetch(`${probe.url}/docs`)).status).toBe(200);
  });
});

/** Sends a body in pieces that are well apart on the wire. */
function slowly(url: string, pieces: string[]): Promise<{ status: number | undefined; body: unknown }> {
  return new Promise((resolve, reject) => {
    const length = pieces.join('').length;
    const headers = { 'content-type': 'application/json', 'content-length': length };
    const sending = request(url, { method: 'POST', headers }, (answer: IncomingMessage) => {
      let text = '';
      answer.on('data', (chunk: Buffer) => (text += chunk.toString()));
      answer.on('end', () => resolve({ status: answer.statusCode, body: JSON.parse(text) as unknown }));
    }).on('error', reject);
    const next = () => {
      const piece = pieces.shift();
      if (piece === undefined) return sending.end();
      sending.write(piece, () => setTimeout(next, 30));
    };
    next();
  });
}
