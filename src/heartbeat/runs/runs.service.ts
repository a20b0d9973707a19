import { Injectable, type OnModuleInit } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { assertCompanyAccess, onlyAgent } from '../../auth/access.js';
import { OwnedThings } from '../../auth/owned-things.js';
import { OtherAgentsRunError } from './run-errors.js';
import { CompaniesService } from '../../companies/companies.service.js';
import {
  EntityRows,
  heldTo,
  inCompany,
  NEWEST_IN_COMPANY,
  type Condition,
  type RowOf,
} from '../../database/entity-rows.js';
import { idFromCursor, MAX_PAGE, type Page, type PageRequest } from '../../database/page.js';
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
const LARGE = [
  'contextSnapshot',
  'placement',
  'placedUnder',
  'leaseId',
  'resultJson',
  'stdoutExcerpt',
  'stderrExcerpt',
] as const;
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

/** Holds the runs to what the caller can look into, of all that it can see. */
function own(): Condition {
  const agentId = onlyAgent();
  return agentId !== null && ['agent_id = ?', agentId];
}

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

/** Reads runs. An agent that asks is shown its own only. */
@Injectable()
export class RunsService implements OnModuleInit {
  constructor(
    private readonly em: EntityManager,
    private readonly companies: CompaniesService,
    private readonly issues: IssuesService,
    private readonly things: OwnedThings,
  ) {}

  onModuleInit(): void {
    this.things.register('heartbeat-runs', (id) => this.require(id));
  }

  /** A company's runs, newest first. */
  async ofCompany(companyId: string, filter: RunFilter): Promise<Page<RunRow>> {
    await this.companies.assertExists(companyId);
    return listed(RUNS, this.em, companyId, filter);
  }

  /** The same with their large fields. */
  async ofCompanyInFull(companyId: string, filter: RunFilter): Promise<Page<FullRunRow>> {
    await this.companies.assertExists(companyId);
    return listed(FULL_RUNS, this.em, companyId, filter);
  }

  /** An issue's runs, newest first. */
  async ofIssue(issueRef: string, filter: RunFilter): Promise<Page<RunRow>> {
    const { id: issueId, companyId } = await this.issues.require(issueRef);
    const other: Condition = filter.issueId && ['issue_id = ?', filter.issueId];
    return listed(RUNS, this.em, companyId, { ...filter, issueId }, [other]);
  }

  /** The issue's queued or running run; there is at most one. */
  async liveOfIssue(issueRef: string): Promise<FullRunRow[]> {
    const { id } = await this.issues.require(issueRef);
    return FULL_RUNS.find(this.em, [['issue_id = ?', id], own(), [`status in (${LIVE})`]], { orderBy: 'id', limit: 1 });
  }

  /** Queued and running runs, newest first, filled up to `minCount` with those that were made last. */
  async live(companyId: string, limit: number, minCount: number): Promise<RunRow[]> {
    await this.companies.assertExists(companyId);
    const live = await RUNS.find(this.em, [[LIVE_IN_COMPANY, companyId, companyId], own()], {
      orderBy: 'id desc',
      limit,
    });
    const missing = Math.min(minCount, limit) - live.length;
    if (missing <= 0) return live;
    const isEnded: Condition[] = [inCompany(companyId), own(), [`status not in (${LIVE})`]];
    return [...live, ...(await RUNS.find(this.em, isEnded, { orderBy: NEWEST_IN_COMPANY, limit: missing }))];
  }

  /** @throws NotFoundError, OtherAgentsRunError */
  async require(runId: string): Promise<HeartbeatRun> {
    const run = await this.em.findOne(HeartbeatRun, runId);
    if (!run) throw new NotFoundError('Run');
    assertCompanyAccess(run.companyId, 'Run');
    if ((onlyAgent() ?? run.agentId) !== run.agentId) throw new OtherAgentsRunError();
    return run;
  }
}

function listed<LeftOut extends keyof HeartbeatRun & string>(
  runs: EntityRows<HeartbeatRun, LeftOut>,
  em: EntityManager,
  companyId: string,
  { status, issueId, ...filter }: RunFilter,
  others: readonly Condition[] = [],
): Promise<Page<RowOf<HeartbeatRun, LeftOut>>> {
  const { limit = MAX_PAGE, cursor } = filter;
  const agentId = filter.agentId ?? onlyAgent();
  const newest: Condition[] =
    status || issueId ? [] : [[OF_AGENT, agentId, idFromCursor(cursor), limit + 1, agentId, agentId]];
  const conditions: Condition[] = [
    ...(agentId ? [...newest, ['agent_id = ?', agentId] as const] : []),
    // Written into the statement, so that it is planned for this status: how many runs have it is very different.
    status && [`status = '${status}'`],
    issueId && ['issue_id = ?', issueId],
    own(),
    ...others,
  ];
  return agentId || issueId
    ? runs.page(em, [heldTo('company_id = ?', companyId), ...conditions], { limit, cursor })
    : runs.pageOfCompany(em, companyId, conditions, { limit, cursor });
}
