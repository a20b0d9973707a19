import { DESTINATION } from './destination.js';
import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';

/** A lease that holds a place in an environment, and the place that its driver made for it, if it made one. */
export interface EnvironmentHolder {
  leaseId: string;
  heartbeatRunId: string | null;
  holder: string;
  /** `active`, or how the lease ended that only its place still holds. */
  status: string;
  place: {
    placeId: string;
    state: string;
    /** The only host that can take it down; null for any. */
    host: string | null;
    keepUntil: Date | null;
    /** Since when nobody tries any more to take it down. */
    parkedAt: Date | null;
  } | null;
}

/** Somebody outside who waits for a lease. */
export interface WaitingRequest {
  requestId: string;
  holder: string;
  createdAt: Date;
}

/** What an environment's end would touch. */
export interface EnvironmentUsage {
  activeLeaseCount: number;
  /** Places of ended leases: kept, or not taken down yet. */
  heldPlaceCount: number;
  /** The oldest leases that hold the environment by themselves or by their place, at most 20. */
  leases: EnvironmentHolder[];
  waitingRunCount: number;
  waitingRequestCount: number;
  /** Those that have waited longest, at most 20. */
  requests: WaitingRequest[];
  isCompanyDefault: boolean;
  agentCount: number;
  openIssueCount: number;
  workspaceCount: number;
}

interface HolderRow {
  id: string;
  heartbeat_run_id: string | null;
  holder: string;
  status: string;
  place_id: string | null;
  state: string;
  host: string | null;
  keep_until: string | null;
  parked_at: string | null;
}

const SHOWN_HOLDERS = 20;

/** A lease holds its environment while it is active, and after that while its place has not gone. */
const HELD = `l.held_until is null`;

/**
 * Looks from an environment at what refers to it. Leases, runs, agents and issues live in modules above or beside this
 * one, so this reads their tables; whoever decides by it holds the environment's row.
 */
@Injectable()
export class EnvironmentUsages {
  constructor(private readonly em: EntityManager) {}

  /** How many active leases each environment has; one without any is missing. */
  async activeLeaseCounts(environmentIds: string[]): Promise<Map<string, number>> {
    if (environmentIds.length === 0) return new Map();
    const rows = await this.em.execute<{ environment_id: string; active: number }[]>(
      `select l.environment_id, count(*)::integer as active from environment_leases l
       where l.environment_id = any(?::uuid[]) and ${HELD} and l.status = 'active' group by l.environment_id`,
      [`{${environmentIds.join(',')}}`],
    );
    return new Map(rows.map((row) => [row.environment_id, row.active]));
  }

  async of(companyId: string, environmentId: string): Promise<EnvironmentUsage> {
    const [counts] = await this.em.execute<Omit<EnvironmentUsage, 'leases' | 'requests'>[]>(
      `select held.active::integer as "activeLeaseCount", (held.all - held.active)::integer as "heldPlaceCount",
         (select count(*)::integer from lease_requests q where q.company_id = e.company_id and q.environment_id = e.id
           and q.give_up_at > clock_timestamp()) as "waitingRequestCount",
         (select count(*)::integer from heartbeat_runs r
           join agents a on a.id = r.agent_id
           left join issues i on i.id = r.issue_id
           left join execution_workspaces w on w.id = i.execution_workspace_id
           where r.company_id = e.company_id and r.status in ('queued', 'scheduled_retry')
             and ${DESTINATION} = e.id) as "waitingRunCount",
         coalesce(c.default_environment_id = e.id, false) as "isCompanyDefault",
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
       from environments e
       join companies c on c.id = e.company_id
       cross join lateral (select count(*) as all, count(*) filter (where l.status = 'active') as active
         from environment_leases l where l.environment_id = e.id and ${HELD}) held
       where e.company_id = ? and e.id = ?`,
      [companyId, environmentId],
    );
    return { ...counts, leases: await this.holders(environmentId), requests: await this.requests(environmentId) };
  }

  private async holders(environmentId: string): Promise<EnvironmentHolder[]> {
    const rows = await this.em.execute<HolderRow[]>(
      `select l.id, l.heartbeat_run_id, l.holder, l.status, p.id as place_id, p.state, p.host, p.keep_until, p.parked_at
       from environment_leases l left join environment_places p on p.lease_id = l.id and p.state <> 'gone'
       where l.environment_id = ? and ${HELD} order by l.fencing_token limit ${SHOWN_HOLDERS}`,
      [environmentId],
    );
    return rows.map((row) => ({
      leaseId: row.id,
      heartbeatRunId: row.heartbeat_run_id,
      holder: row.holder,
      status: row.status,
      place: row.place_id === null ? null : placeOf(row, row.place_id),
    }));
  }

  private async requests(environmentId: string): Promise<WaitingRequest[]> {
    const rows = await this.em.execute<{ id: string; holder: string; created_at: string }[]>(
      `select q.id, q.holder, q.created_at from lease_requests q
       join environments e on e.company_id = q.company_id and e.id = q.environment_id
       where e.id = ? and q.give_up_at > clock_timestamp() order by q.created_at limit ${SHOWN_HOLDERS}`,
      [environmentId],
    );
    return rows.map(({ id, holder, created_at }) => ({ requestId: id, holder, createdAt: new Date(created_at) }));
  }
}

/** Whether anything is held there, by a lease or by what one left. */
export const isHeld = ({ activeLeaseCount, heldPlaceCount }: EnvironmentUsage) => activeLeaseCount + heldPlaceCount > 0;

const placeOf = ({ state, host, keep_until, parked_at }: HolderRow, placeId: string) => ({
  placeId,
  state,
  host,
  keepUntil: timeOf(keep_until),
  parkedAt: timeOf(parked_at),
});

const timeOf = (time: string | null) => (time === null ? null : new Date(time));
