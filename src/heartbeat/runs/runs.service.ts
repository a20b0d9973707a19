import { Injectable } from '@nestjs/common';
import { raw, type FilterQuery } from '@mikro-orm/core';
import { EntityManager } from '@mikro-orm/postgresql';
import { assertCompanyAccess } from '../../auth/access.js';
import { CompaniesService } from '../../companies/companies.service.js';
import { idFromCursor, MAX_PAGE, Page, type PageRequest } from '../../database/page.js';
import { NotFoundError } from '../../errors/domain-error.js';
import { IssuesService } from '../../issues/issues.service.js';
import { HeartbeatRun, LIVE_RUN_STATUSES, type RunStatus } from './heartbeat-run.entity.js';

/** Most runs that one page holds: clients read a whole agent's history at once. */
export const MAX_RUNS = 1000;

/** Which runs a list shows. */
export interface RunFilter extends PageRequest {
  readonly agentId?: string;
  readonly status?: RunStatus;
  readonly issueId?: string;
}

/** Fields that lists leave out unless asked for. */
const LARGE_FIELDS = [
  'contextSnapshot',
  'placement',
  'placedUnder',
  'resultJson',
  'stdoutExcerpt',
  'stderrExcerpt',
  'tokenHash',
] as const;

/** Each status apart, for its index. */
const LIVE_IN_COMPANY = `id = any(array(${LIVE_RUN_STATUSES.map(
  (status) => `select id from heartbeat_runs where company_id = ? and status = '${status}'`,
).join(' union all ')}))`;

/**
 * An agent's newest runs. Those that have not ended are found by the indexes for what waits and what runs, which are never
 * long: the one by agent need not be written before a run has ended.
 */
const OF_AGENT = `id = any(array(
  (select id from heartbeat_runs where agent_id = ? and status not in ('queued', 'scheduled_retry', 'running')
    and id < coalesce(?::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') order by id desc limit ?)
  union all
  select r.id from agents a join heartbeat_runs r on r.company_id = a.company_id and r.agent_id = a.id
    and r.status in ('queued', 'scheduled_retry') where a.id = ?
  union all
  select r.id from agents a join heartbeat_runs r on r.company_id = a.company_id and r.agent_id = a.id
    and r.status = 'running' where a.id = ?))`;

/** Written into the statement, so that it is planned for this status: how many runs have it is very different. */
const is = (status: RunStatus): FilterQuery<HeartbeatRun> => ({ [raw(`status = '${status}'`)]: [] });

/** Reads runs. */
@Injectable()
export class RunsService {
  constructor(
    private readonly em: EntityManager,
    private readonly companies: CompaniesService,
    private readonly issues: IssuesService,
  ) {}

  /** A company's runs, newest first. */
  async ofCompany(companyId: string, filter: RunFilter, full: boolean): Promise<Page<HeartbeatRun>> {
    await this.companies.require(companyId);
    return this.list({ companyId }, filter, full);
  }

  /** An issue's runs, newest first. */
  async ofIssue(issueRef: string, filter: RunFilter): Promise<Page<HeartbeatRun>> {
    const { id: issueId, companyId } = await this.issues.require(issueRef);
    return this.list({ companyId, issueId }, filter, false);
  }

  /** The issue's queued and running runs; there is at most one. */
  async liveOfIssue(issueRef: string): Promise<HeartbeatRun[]> {
    const { id: issueId } = await this.issues.require(issueRef);
    return this.em.find(HeartbeatRun, { issueId, status: { $in: [...LIVE_RUN_STATUSES] } });
  }

  /** Queued and running runs, newest first, filled up to `minCount` with those that were made last. */
  async live(companyId: string, limit: number, minCount: number): Promise<HeartbeatRun[]> {
    await this.companies.require(companyId);
    const exclude = [...LARGE_FIELDS];
    const live = await this.em.find(
      HeartbeatRun,
      { [raw(LIVE_IN_COMPANY, [companyId, companyId])]: [] },
      { orderBy: { id: 'desc' }, limit, exclude },
    );
    const missing = Math.min(minCount, limit) - live.length;
    if (missing <= 0) return live as HeartbeatRun[];
    const ended = await this.em.find(
      HeartbeatRun,
      { companyId, status: { $nin: [...LIVE_RUN_STATUSES] } },
      { orderBy: { id: 'desc' }, limit: missing, exclude },
    );
    return [...live, ...ended] as HeartbeatRun[];
  }

  /** @throws NotFoundError */
  async require(runId: string): Promise<HeartbeatRun> {
    const run = await this.em.findOne(HeartbeatRun, runId);
    if (!run) throw new NotFoundError('Run');
    assertCompanyAccess(run.companyId, 'Run');
    return run;
  }

  private async list(
    scope: FilterQuery<HeartbeatRun>,
    { agentId, status, issueId, limit = MAX_PAGE, cursor }: RunFilter,
    full: boolean,
  ): Promise<Page<HeartbeatRun>> {
    const before = idFromCursor(cursor);
    const ofAgent = agentId && !status && !issueId ? [agentId, before, limit + 1, agentId, agentId] : null;
    const where: FilterQuery<HeartbeatRun>[] = [
      scope,
      ofAgent ? { [raw(OF_AGENT, ofAgent)]: [] } : {},
      agentId ? { agentId } : {},
      status ? is(status) : {},
      issueId ? { issueId } : {},
      before ? { id: { $lt: before } } : {},
    ];
    const rows = await this.em.find(
      HeartbeatRun,
      { $and: where },
      { orderBy: { id: 'desc' }, limit: limit + 1, exclude: full ? ['tokenHash'] : [...LARGE_FIELDS] },
    );
    return Page.of(rows as HeartbeatRun[], limit, ({ id }) => id);
  }
}
