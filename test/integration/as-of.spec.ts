import { Fleet } from '../support/fleet.js';
import type { Lease } from '../support/scenario.js';
import { Scenario } from '../support/scenario.js';
import { startStillApp } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';

const NOON = '2026-01-01T12:00:00Z';

describe('leases as of a time', () => {
  let app: TestApp;
  let fleet: Fleet;
  let environmentId: string;

  beforeAll(async () => {
    app = await startStillApp();
    fleet = new Fleet(app, await new Scenario(app.url).company());
    environmentId = await fleet.create('environments', { name: 'Local', driver: 'local', capacity: 1 });
    await lease('early', '10:00', '11:00');
    await lease('morning', '11:00', '12:00');
    await lease('noon', '12:00', '13:00', 'failed');
    await lease('none', '12:00', '12:00');
    await lease('now', '13:00', null);
  });
  afterAll(() => app.close());

  /** One that held slot 1 between these times of the first of January. */
  const lease = (holder: string, from: string, to: string | null, status = to ? 'released' : 'active') =>
    app.database.query(
      `insert into environment_leases (id, company_id, environment_id, holder, status, provider, slot, acquired_at,
         last_used_at, expires_at, lifetime_ends_at, released_at, held_until, failure_reason)
       select gen_random_uuid(), $1, $2, $3, $4, 'local', 1, t.from_time, t.from_time, t.from_time + interval '1 hour',
         'infinity', t.to_time, t.to_time, 'x'
       from (select ('2026-01-01T' || $5 || 'Z')::timestamptz as from_time, ('2026-01-01T' || $6 || 'Z')::timestamptz as to_time) t`,
      [fleet.companyId, environmentId, holder, status, from, to],
    );
  const asOf = async (time: string, filter = '', path = `/companies/${fleet.companyId}/environment-leases`) => {
    const { status, body } = await fleet.user.api.get<(Lease & { holder: string })[]>(
      `${path}?asOf=${encodeURIComponent(time)}${filter}`,
    );
    return status === 200 ? body.map(({ holder }) => holder) : status;
  };

  it('are those that were held then', async () => {
    expect(await asOf('2026-01-01T10:30:00Z')).toEqual(['early']);
    expect(await asOf('2026-01-01T09:59:59.999Z')).toEqual([]);
    expect(await asOf('2026-06-01T00:00:00Z')).toEqual(['now']);
    expect(await asOf('2026-01-01T10:30:00Z', '', `/environments/${environmentId}/leases`)).toEqual(['early']);
  });

  it('name one holder of a slot at the very time at which it was handed over, and none that held it for no time', async () => {
    expect(await asOf('2026-01-01T11:59:59.999Z')).toEqual(['morning']);
    expect(await asOf(NOON)).toEqual(['noon']);
    expect(await asOf('2026-01-01T13:00:00Z')).toEqual(['now']);
  });

  it('are the same time in every zone', async () => {
    expect(await asOf('2026-01-01T13:00:00+01:00')).toEqual(['noon']);
    expect(await asOf('2026-01-01T04:59:00-07:00')).toEqual(['morning']);
  });

  it('can be asked for by what they have become since', async () => {
    expect(await asOf(NOON, '&status=failed')).toEqual(['noon']);
    expect(await asOf(NOON, '&status=released')).toEqual([]);
    expect(await asOf(NOON, '&status=active')).toEqual([]);
    expect(await asOf('2026-06-01T00:00:00Z', '&status=active')).toEqual(['now']);
  });

  it.each([
    'yesterday',
    '',
    '2026-01-01',
    '2026-01-01T12:00:00',
    '2026-02-30T12:00:00Z',
    '1767268800',
    '2026-01-01T25:00:00Z',
  ])('are refused for "%s", which is no time or names no zone', async (time) => {
    expect(await asOf(time)).toBe(400);
  });
});
