import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';

/** How long before and after the time in its id the acquisition of a lease is looked for: clocks differ, gates take time. */
const BEFORE = `interval '10 seconds'`;
const AFTER = `interval '60 seconds'`;

/** Finds entries about runs and leases that have been removed: how they are indexed, their rows would say. */
@Injectable()
export class RemovedSubjects {
  constructor(private readonly em: EntityManager) {}

  /**
   * The run by which the entries about a removed run or lease are found, or null. Looks at what was recorded in the minute
   * in which the id was made, if that is before everything is there that ended.
   */
  async runOf(companyId: string, id: string): Promise<string | null> {
    const [found] = await this.em.execute<{ run_id: string }[]>(
      `with horizon as (
         select company_id from retention_horizons
         where company_id = ? and kind = 'runs' and time_of_id(?::uuid) < complete_since)
       (select e.run_id from horizon h join activity_log e on e.company_id = h.company_id and e.run_id = ?::uuid limit 1)
       union all
       (select e.run_id from horizon h join activity_log e on e.company_id = h.company_id
         and e.created_at >= time_of_id(?::uuid) - ${BEFORE} and e.created_at < time_of_id(?::uuid) + ${AFTER}
         and e.action = 'environment.lease_acquired' and e.entity_id = ? and e.run_id is not null limit 1)
       limit 1`,
      [companyId, id, id, id, id, id],
    );
    return found?.run_id ?? null;
  }
}
