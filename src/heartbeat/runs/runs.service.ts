import { Injectable, type OnModuleInit } from '@nestjs/common';
import { raw, type FilterQuery } from '@mikro-orm/core';
import { EntityManager } from '@mikro-orm/postgresql';
import { assertCompanyAccess, onlyAgent } from '../../auth/access.js';
import { OwnedThings } from '../../auth/owned-things.js';
import { OtherAgentsRunError } from './run-errors.js';
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
const LARGE_FIELDS = ['contextSnapshot', 'resultJson', 'stdoutExcerpt', 'stderrExcerpt', 'tokenHash'] as const;

/** Each status apart, for its index. */
const LIVE_IN_COMPANY = `id = any(array(${LIVE_RUN_STATUSES.map(
  (status) => `select id from heartbeat_runs where company_id = ? and status = '${status}'`,
).join(' union all ')}))`;

/** Written into the statement, so that it is planned for this status: how many runs have it is very different. */
const is = (status: RunStatus): FilterQuery<HeartbeatRun> => ({ [raw(`status = '${status}'`)]: [] });

/** What the caller can look into, of all that it can see. */
function own(): { agentId?: string } {
  const agentId = onlyAgent();
  return agentId === null ? {} : { agentId };
}

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
    return this.em.find(HeartbeatRun, { issueId, ...own(), status: { $in: [...LIVE_RUN_STATUSES] } });
  }

  /** Queued and running runs, newest first, filled up to `minCount` with those that were made last. */
  async live(companyId: string, limit: number, minCount: number): Promise<HeartbeatRun[]> {
    await this.companies.require(companyId);
    const exclude = [...LARGE_FIELDS];
    const live = await this.em.find(
      HeartbeatRun,
      { [raw(LIVE_IN_COMPANY, [companyId, companyId])]: [], ...own() },
      { orderBy: { id: 'desc' }, limit, exclude },
    );
    const missing = Math.min(minCount, limit) - live.length;
    if (missing <= 0) return live as HeartbeatRun[];
    const ended = await this.em.find(
      HeartbeatRun,
      { companyId, ...own(), status: { $nin: [...LIVE_RUN_STATUSES] } },
      { orderBy: { id: 'desc' }, limit: missing, exclude },
    );
    return [...live, ...ended] as HeartbeatRun[];
  }

  /** @throws NotFoundError, OtherAgentsRunError */
  async require(runId: string): Promise<HeartbeatRun> {
    const run = await this.em.findOne(HeartbeatRun, runId);
    if (!run) throw new NotFoundError('Run');
    assertCompanyAccess(run.companyId, 'Run');
    if ((onlyAgent() ?? run.agentId) !== run.agentId) throw new OtherAgentsRunError();
    return run;
  }

  private async list(
    scope: FilterQuery<HeartbeatRun>,
    { agentId, status, issueId, limit = MAX_PAGE, cursor }: RunFilter,
    full: boolean,
  ): Promise<Page<HeartbeatRun>> {
    const before = idFromCursor(cursor);
    const where: FilterQuery<HeartbeatRun>[] = [
      scope,
      own(),
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
