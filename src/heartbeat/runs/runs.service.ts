import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { assertCompanyAccess } from '../../auth/access.js';
import { CompaniesService } from '../../companies/companies.service.js';
import { EntityRows, heldTo, type Condition, type RowOf } from '../../database/entity-rows.js';
import type { Page, PageRequest } from '../../database/page.js';
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

const NOT_SHOWN = [
  ...(['dueAt', 'claimErrors', 'invocation', 'cancelCode', 'cancelReason', 'deadlineAt', 'idleTimeoutSec'] as const),
  ...(['tokenHash', 'shutdownRetryCount'] as const),
];
/** What lists leave out unless asked for, and what it is made of. */
const LARGE = ['contextSnapshot', 'placement', 'leaseId', 'resultJson', 'stdoutExcerpt', 'stderrExcerpt'] as const;
const FULL_RUNS = new EntityRows(HeartbeatRun, NOT_SHOWN);
const RUNS = new EntityRows(HeartbeatRun, [...NOT_SHOWN, ...LARGE]);

/** A run with its large fields. */
export type FullRunRow = RowOf<HeartbeatRun, (typeof NOT_SHOWN)[number]>;
/** A run as lists show it. */
export type RunRow = Omit<FullRunRow, (typeof LARGE)[number]>;

const LIVE = LIVE_RUN_STATUSES.map((status) => `'${status}'`).join(', ');
/** Each status apart, for its index. */
const LIVE_IN_COMPANY = `id = any(array(${LIVE_RUN_STATUSES.map(
  (status) => `select id from heartbeat_runs where company_id = ? and status = '${status}'`,
).join(' union all ')}))`;

/** Reads runs. */
@Injectable()
export class RunsService {
  constructor(
    private readonly em: EntityManager,
    private readonly companies: CompaniesService,
    private readonly issues: IssuesService,
  ) {}

  /** A company's runs, newest first. */
  async ofCompany(companyId: string, filter: RunFilter): Promise<Page<RunRow>> {
    await this.companies.assertExists(companyId);
    return RUNS.page(this.em, conditionsOf(companyId, filter), filter);
  }

  /** The same with their large fields. */
  async ofCompanyInFull(companyId: string, filter: RunFilter): Promise<Page<FullRunRow>> {
    await this.companies.assertExists(companyId);
    return FULL_RUNS.page(this.em, conditionsOf(companyId, filter), filter);
  }

  /** An issue's runs, newest first. */
  async ofIssue(issueRef: string, filter: RunFilter): Promise<Page<RunRow>> {
    const { id: issueId, companyId } = await this.issues.require(issueRef);
    const conditions = conditionsOf(companyId, { ...filter, issueId });
    return RUNS.page(this.em, [...conditions, filter.issueId && ['issue_id = ?', filter.issueId]], filter);
  }

  /** The issue's queued or running run; there is at most one. */
  async liveOfIssue(issueRef: string): Promise<FullRunRow[]> {
    const { id } = await this.issues.require(issueRef);
    return FULL_RUNS.find(this.em, [['issue_id = ?', id], [`status in (${LIVE})`]], { orderBy: 'id', limit: 1 });
  }

  /** Queued and running runs, newest first, filled up to `minCount` with those that were made last. */
  async live(companyId: string, limit: number, minCount: number): Promise<RunRow[]> {
    await this.companies.assertExists(companyId);
    const newest = { orderBy: 'id desc', limit };
    const live = await RUNS.find(this.em, [[LIVE_IN_COMPANY, companyId, companyId]], newest);
    const missing = Math.min(minCount, limit) - live.length;
    if (missing <= 0) return live;
    const isEnded: Condition[] = [['company_id = ?', companyId], [`status not in (${LIVE})`]];
    return [...live, ...(await RUNS.find(this.em, isEnded, { ...newest, limit: missing }))];
  }

  /** @throws NotFoundError */
  async require(runId: string): Promise<HeartbeatRun> {
    const run = await this.em.findOne(HeartbeatRun, runId);
    if (!run) throw new NotFoundError('Run');
    assertCompanyAccess(run.companyId, 'Run');
    return run;
  }
}

function conditionsOf(companyId: string, { agentId, status, issueId }: RunFilter): Condition[] {
  const ofCompany = ['company_id = ?', companyId] as const;
  return [
    agentId || issueId ? heldTo(...ofCompany) : ofCompany,
    agentId && ['agent_id = ?', agentId],
    // Written into the statement, so that it is planned for this status: how many runs have it is very different.
    status && [`status = '${status}'`],
    issueId && ['issue_id = ?', issueId],
  ];
}
