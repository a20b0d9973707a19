import { v7 } from 'uuid';
import { ProvisionService } from '../../src/heartbeat/claiming/provision.service.js';
import { outcome, startStillApp, Steps } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';

/** Agents who want the same few slots, and how often each. */
const AGENTS = process.env.TEST_LONG ? 1000 : 120;
const SLOTS = 10;
const TURNS = 3;

/** A company whose one environment has the slots, and everything that its agents want, in the order of the agents. */
const CONTENTION = `
  with company as (
    insert into companies (id, name, issue_prefix) values ($1, 'Harbour', 'BER') returning id),
  environment as (
    insert into environments (id, company_id, name, driver, capacity) select $2, id, 'Local', 'local', ${SLOTS} from company),
  agent as (
    insert into agents (id, company_id, name, adapter_type, adapter_config)
    select a.id, company.id, a.id::text, 'process', '{"command": "true"}' from company, unnest($3::uuid[]) as a (id) returning id)
  insert into heartbeat_runs (id, company_id, agent_id, invocation_source, status, due_at)
  select gen_random_uuid(), company.id, a.id, 'on_demand', 'queued', now() - interval '1 hour' + a.position * interval '1 ms'
  from company, unnest($3::uuid[]) with ordinality as a (id, position), generate_series(1, ${TURNS})`;

describe('many agents who want few slots', () => {
  let app: TestApp;
  let steps: Steps;

  beforeAll(async () => {
    app = await startStillApp();
    steps = new Steps(app);
  });
  afterAll(() => app.close());

  it('take turns: nobody has another one before everybody has had his', async () => {
    await app.database.query(CONTENTION, [v7(), v7(), Array.from({ length: AGENTS }, () => v7())]);
    const provision = app.get(ProvisionService);
    const turns: string[] = [];
    for (;;) {
      const asked = Array.from({ length: SLOTS + 2 }, () => provision.provision());
      const started = (await Promise.all(asked)).filter((run) => run !== null);
      expect(started.length).toBeLessThanOrEqual(SLOTS);
      if (started.length === 0) break;
      turns.push(...started.map(({ agentId }) => agentId));
      await steps.endAll(started, outcome.succeeded());
    }
    expect(turns).toHaveLength(AGENTS * TURNS);
    for (let turn = 0; turn < TURNS; turn++) {
      expect(new Set(turns.slice(turn * AGENTS, (turn + 1) * AGENTS)).size).toBe(AGENTS);
    }
  });
});
