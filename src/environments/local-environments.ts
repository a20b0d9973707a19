import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';
import { newId } from '../database/id.js';
import { systemActor } from '../events/actor.js';
import { DomainEvents } from '../events/domain-events.js';
import type { EnvironmentStatus } from './environment.entity.js';
import { EnvironmentCreated } from './environments.events.js';

/** A company's local environment, as it was read. */
export interface LocalEnvironment {
  id: string;
  companyId: string;
  name: string;
  driver: string;
  status: EnvironmentStatus;
  config: Record<string, unknown>;
  envVars: Record<string, unknown>;
}

const ATTEMPTS = 5;

/** Makes sure that companies have a place on the server itself, when one is first needed. */
@Injectable()
export class LocalEnvironments {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
  ) {}

  /**
   * The local environment of each company, in the caller's transaction; one that exists is left as it is, whatever its
   * name or status. Those who come at once wait for the first, whose unique index entry refuses theirs; each then
   * reads what was committed.
   */
  async ensure(companyIds: readonly string[]): Promise<Map<string, LocalEnvironment>> {
    const wanted = [...new Set(companyIds)].sort();
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const found = await this.find(wanted);
      const missing = wanted.filter((companyId) => !found.has(companyId));
      if (missing.length === 0) return found;
      await this.insert(missing);
    }
    throw new Error('A local environment was made and removed again by others each time that it was looked for');
  }

  /** The local environments that there are, by company. */
  async find(companyIds: readonly string[]): Promise<Map<string, LocalEnvironment>> {
    const rows = await this.em.execute<LocalEnvironment[]>(
      `select id, company_id as "companyId", name, driver, status, config, env_vars as "envVars"
       from environments where company_id = any(?::uuid[]) and driver = 'local' and deleted_at is null`,
      [`{${companyIds.join(',')}}`],
    );
    return new Map(rows.map((row) => [row.companyId, row]));
  }

  /** Under the first name that is free: another environment may be called `Local` already. */
  private async insert(companyIds: string[]): Promise<void> {
    const rows = await this.em.execute<{ id: string; company_id: string; name: string }[]>(
      `insert into environments (id, company_id, name, driver)
       select wanted.id, wanted.company_id, (
         select candidate.name
         from (select 1 as n, 'Local' as name union all select n, 'Local ' || n from generate_series(2, 1000) as n)
           as candidate
         where not exists (select from environments e
           where e.company_id = wanted.company_id and e.name = candidate.name and e.deleted_at is null)
         order by candidate.n limit 1), 'local'
       from jsonb_to_recordset(?::jsonb) as wanted (id uuid, company_id uuid)
       order by wanted.company_id
       on conflict do nothing
       returning id, company_id, name`,
      [JSON.stringify(companyIds.map((companyId) => ({ id: newId(), company_id: companyId })))],
    );
    const created = rows.map(
      (row) => new EnvironmentCreated(row.company_id, row.id, { name: row.name, driver: 'local' }),
    );
    await this.events.record(created, systemActor('berth'));
  }
}
