import { EntityManager } from '@mikro-orm/postgresql';
import { inTransaction } from '../../src/database/transaction.js';
import { EnvironmentsService } from '../../src/environments/environments.service.js';
import type { ApiClient } from '../support/api-client.js';
import { EnvironmentHarness, type Environment } from './environment-harness.js';

let harness: EnvironmentHarness;
let operator: ApiClient;

beforeAll(async () => {
  harness = await EnvironmentHarness.start();
  ({ operator } = harness);
});
afterAll(() => harness.close());

describe('the local environment of a company', () => {
  const ensure = (companyId: string) => {
    const em = harness.app.get(EntityManager).fork();
    return inTransaction(em, () => harness.app.get(EnvironmentsService).ensureLocal([companyId]));
  };
  const locals = (companyId: string) =>
    harness.app.database.query<{ id: string; name: string; status: string }>(
      `select id, name, status from environments where company_id = $1 and driver = 'local' and deleted_at is null`,
      [companyId],
    );

  it('is made once, when eight first runs need it at once', async () => {
    const companyId = await harness.company();
    const made = await Promise.all(Array.from({ length: 8 }, () => ensure(companyId)));
    const rows = await locals(companyId);
    expect(rows).toHaveLength(1);
    expect(new Set(made.map((map) => map.get(companyId)!.id))).toEqual(new Set([rows[0].id]));
    expect(made[0].get(companyId)).toEqual({
      id: rows[0].id,
      companyId,
      name: 'Local',
      driver: 'local',
      status: 'active',
      config: {},
      envVars: {},
    });
    expect(await harness.actions(companyId)).toEqual([
      { action: 'environment.created', actor_type: 'system', details: { name: 'Local', driver: 'local' } },
    ]);
  });

  it('is there for whoever lists the environments of a new company', async () => {
    const companyId = await harness.company();
    const { body } = await operator.get<Environment[]>(`/companies/${companyId}/environments`);
    expect(body).toMatchObject([{ companyId, name: 'Local', driver: 'local', status: 'active', activeLeaseCount: 0 }]);
    expect((await operator.get<Environment[]>(`/companies/${companyId}/environments`)).body).toEqual(body);
  });

  it('is left as it is, whatever its name or status', async () => {
    const companyId = await harness.company();
    const body = { name: 'My machine', driver: 'local' };
    const { body: own } = await operator.post<Environment>(`/companies/${companyId}/environments`, body);
    await operator.post(`/environments/${own.id}/archive`);
    expect((await ensure(companyId)).get(companyId)).toMatchObject({
      id: own.id,
      name: 'My machine',
      status: 'archived',
    });
    expect(await locals(companyId)).toHaveLength(1);
  });

  it('takes another name where its own is taken', async () => {
    const companyId = await harness.company();
    await harness.other(companyId, 'Local');
    await harness.other(companyId, 'Local 2');
    expect((await ensure(companyId)).get(companyId)).toMatchObject({ name: 'Local 3' });
  });

  it('is made anew after it was deleted', async () => {
    const companyId = await harness.company();
    const { id } = (await ensure(companyId)).get(companyId)!;
    expect((await operator.delete(`/environments/${id}`)).status).toBe(204);
    const again = (await ensure(companyId)).get(companyId)!;
    expect(again.id).not.toBe(id);
    expect(again.name).toBe('Local');
  });

  it('is made for several companies at once', async () => {
    const companyIds = [await harness.company(), await harness.company(), await harness.company()];
    const em = harness.app.get(EntityManager).fork();
    const made = await inTransaction(em, () =>
      harness.app.get(EnvironmentsService).ensureLocal([...companyIds, ...companyIds]),
    );
    expect([...made.keys()].sort()).toEqual([...companyIds].sort());
  });

  it('is not made in a company that is archived', async () => {
    const companyId = await harness.company();
    await operator.post(`/companies/${companyId}/archive`);
    expect((await operator.get(`/companies/${companyId}/environments`)).body).toEqual([]);
  });
});
