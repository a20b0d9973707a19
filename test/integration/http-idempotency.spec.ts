import { createHash, randomUUID } from 'node:crypto';
import { IdempotencySweep } from '../../src/http/idempotency-sweep.js';
import { startProbeApp, type ProbeApp } from './http-probe.js';

describe('a request with an idempotency key', () => {
  let probe: ProbeApp;
  const company = randomUUID();

  beforeAll(async () => {
    probe = await startProbeApp();
  });
  afterAll(() => probe.close());

  const send = async (name: string, key?: string, { inBody = false, tenant = company, authorization = '' } = {}) => {
    const answer = await fetch(`${probe.url}/api/probe/companies/${tenant}/once`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(key !== undefined && !inBody ? { 'idempotency-key': key } : {}),
        ...(authorization ? { authorization } : {}),
      },
      body: JSON.stringify({ name, ...(inBody ? { idempotencyKey: key } : {}) }),
    });
    return { status: answer.status, body: (await answer.json()) as { id: string; token?: string; code?: string } };
  };
  const hashed = (key: string) => createHash('sha256').update(key).digest('hex');
  const made = async (name: string) =>
    (await probe.database.query('select id from companies where name = $1', [name])).length;

  it('is carried out once, and answered with the first result', async () => {
    const first = await send('Once', 'k1');
    const second = await send('Once', 'k1');
    expect(first).toEqual({ status: 202, body: { id: expect.any(String), token: 'shown once' } });
    expect(second).toEqual({ status: 202, body: { id: first.body.id } });
    expect(await made('Once')).toBe(1);
  });

  it('takes the key from the body as well', async () => {
    const first = await send('Body', 'k2', { inBody: true });
    const second = await send('Body', 'k2', { inBody: true });
    expect(second.body.id).toBe(first.body.id);
    expect(await made('Body')).toBe(1);
  });

  it('makes one thing when eight arrive at once', async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, () => send('Race', 'k3')));
    expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(202));
    expect(new Set(answers.map(({ body }) => body.id)).size).toBe(1);
    expect(await made('Race')).toBe(1);
  });

  it('is refused with another body', async () => {
    await send('One', 'k4');
    expect(await send('Other', 'k4')).toMatchObject({ status: 409, body: { code: 'idempotency_key_reused' } });
    expect(await made('Other')).toBe(0);
  });

  it('leaves the key free when it fails', async () => {
    expect((await send('fails', 'k5')).status).toBe(500);
    expect(await made('fails')).toBe(0);
    expect((await send('works', 'k5')).status).toBe(202);
  });

  it('counts for its own company only', async () => {
    const first = await send('Tenant', 'k6');
    const second = await send('Tenant', 'k6', { tenant: randomUUID() });
    expect(second.body.id).not.toBe(first.body.id);
  });

  it('is carried out anew after 24 hours, and the old answer is swept away', async () => {
    const first = await send('Old', 'k7');
    await send('Older', 'k8');
    const kept = [hashed('k7'), hashed('k8')];
    await probe.database.query(
      `update idempotency_keys set created_at = now() - interval '25 hours' where key = any($1)`,
      [kept],
    );
    expect((await send('Old', 'k7')).body.id).not.toBe(first.body.id);
    await probe.app.get(IdempotencySweep, { strict: false }).sweep();
    const left = await probe.database.query('select key from idempotency_keys where key = any($1)', [kept]);
    expect(left).toEqual([{ key: hashed('k7') }]);
  });

  it('keeps nothing of the key but a hash, and says in a refusal which one it was', async () => {
    await send('Kept', 'a-secret-by-mistake');
    await send('Kept', 'another-by-mistake', { inBody: true });
    const rows = await probe.database.query<{ row: string }>('select k::text as row from idempotency_keys k');
    expect(rows.map(({ row }) => row).join()).not.toContain('by-mistake');
    const refused = await send('Other', 'a-secret-by-mistake');
    expect(refused.body).toMatchObject({ error: expect.stringContaining(`'a-secret-by-mistake'`) as string });
  });

  it('is not repeated without a key, and refused with one that is too long', async () => {
    expect((await send('Twice')).body.id).not.toBe((await send('Twice')).body.id);
    expect(await send('Long', 'x'.repeat(201))).toMatchObject({ status: 400, body: { code: 'invalid_input' } });
    expect(await send('Long', 'x'.repeat(201), { inBody: true })).toMatchObject({ status: 400 });
  });
});
