import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';

/** Who holds a place in an environment. */
export interface EnvironmentHolder {
  leaseId: string;
  heartbeatRunId: string | null;
  holder: string;
}

/** What an environment's end would touch. */
export interface EnvironmentUsage {
  activeLeaseCount: number;
  /** The oldest active leases, at most 20. */
  leases: EnvironmentHolder[];
  isCompanyDefault: boolean;
  agentCount: number;
  openIssueCount: number;
  workspaceCount: number;
}

const SHOWN_HOLDERS = 20;

/**
 * Looks from an environment at what refers to it. Leases, agents and issues live in modules above or beside this one,
 * so this reads their tables; whoever decides by it holds the environment's row.
 */
@Injectable()
export class EnvironmentUsages {
  constructor(private readonly em: EntityManager) {}

  /** How many active leases each environment has; one without any is missing. */
  async activeLeaseCounts(environmentIds: string[]): Promise<Map<string, number>> {
    if (environmentIds.length === 0) return new Map();
    const rows = await this.em.execute<{ environment_id: string; active: number }[]>(
      `select environment_id, count(*)::integer as active from environment_leases
       where environment_id = any(?::uuid[]) and status = 'active' group by environment_id`,
      [`{${environmentIds.join(',')}}`],
    );
    return new Map(rows.map((row) => [row.environment_id, row.active]));
  }

  async of(companyId: string, environmentId: string): Promise<EnvironmentUsage> {
    const [counts] = await this.em.execute<Omit<EnvironmentUsage, 'leases'>[]>(
      `select
         (select count(*)::integer from environment_leases where environment_id = e.id and status = 'active')
           as "activeLeaseCount",
         exists (select from companies c where c.id = e.company_id and c.default_environment_id = e.id)
           as "isCompanyDefault",
         (select count(*)::integer from agents a
           where a.company_id = e.company_id and a.default_environment_id = e.id and a.deleted_at is null)
           as "agentCount",
         (select count(*)::integer from issues i
           where i.company_id = e.company_id and i.environment_id = e.id and i.deleted_at is null
             and i.status not in ('done', 'cancelled'))
           as "openIssueCount",
         (select count(*)::integer from execution_workspaces w
           where w.company_id = e.company_id and w.environment_id = e.id and w.status = 'active')
           as "workspaceCount"
       from environments e where e.company_id = ? and e.id = ?`,
      [companyId, environmentId],
    );
    return { ...counts, leases: await this.holders(environmentId) };
  }

  private holders(environmentId: string): Promise<EnvironmentHolder[]> {
    return this.em.execute<EnvironmentHolder[]>(
      `select id as "leaseId", heartbeat_run_id as "heartbeatRunId", holder from environment_leases
       where environment_id = ? and status = 'active' order by id limit ${SHOWN_HOLDERS}`,
      [environmentId],
    );
  }
}
