import { EntityManager, raw } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';
import { validate } from 'uuid';
import { Agent } from '../agents/agent.entity.js';
import { canSeeCompany } from '../auth/access.js';
import { ForbiddenError } from '../auth/auth-errors.js';
import { CompaniesService } from '../companies/companies.service.js';
import { EntityRows, heldTo, type Condition, type RowOf } from '../database/entity-rows.js';
import { keyOfTime, MAX_PAGE, Page, timeFromCursor, type PageRequest } from '../database/page.js';
import { inTransaction } from '../database/transaction.js';
import { NotFoundError } from '../errors/domain-error.js';
import { DomainEvents } from '../events/domain-events.js';
import { currentActor } from '../events/request-scope.js';
import { HeartbeatRun } from '../heartbeat/runs/heartbeat-run.entity.js';
import { Issue } from '../issues/issue.entity.js';
import { ActivityRecorder } from './activity-recorder.js';
import type { ActivityQueryDto, AddActivityDto } from './activity.dto.js';
import { Activity } from './activity.entity.js';
import { CustomActivityAdded, type CustomEntry } from './activity.events.js';
import { RemovedSubjects } from './removed-subjects.js';

/** What every run writes is found by looking at what is newest; rows of other actions, about other things, have an index. */
const UNLIKE_EVERY_RUN = {
  action: `row_action = ? and row_action not in ('heartbeat.invoked', 'heartbeat.queued', 'heartbeat.started', 'heartbeat.succeeded',
    'environment.lease_acquired', 'environment.lease_released')`,
  entityType: `row_entity_type = ? and row_entity_type not in ('heartbeat_run', 'environment_lease')`,
};
const OF_EVERY_RUN: ReadonlySet<string> = new Set(
  Object.values(UNLIKE_EVERY_RUN).flatMap((condition) => [...condition.matchAll(/'(.+?)'/g)].map(([, name]) => name)),
);

const ENTRIES = new EntityRows(Activity);

/** Looked at once: as a condition of each entry it would have them looked for in two indexes, of which one is far too wide. */
const AGENT_IS_THERE = `(select company_id from agents where id = ?) = ?`;

/** By what a list is ordered: the entries of one run, or about one thing, as they were written. */
type Order = 'time' | 'sequence';
const ORDER_BY: Record<Order, string> = {
  time: 'created_at desc, row_seq desc, seq desc',
  sequence: 'row_seq desc, seq desc',
};

/** What comes after an entry: of rows, which an index knows, and exactly. A row's number is that of its first entry. */
const BEYOND: Record<Order, string> = {
  time: `(created_at, row_seq) <= (?::timestamptz, ?::bigint) and (created_at, seq) < (?::timestamptz, ?::bigint)`,
  sequence: `row_seq < ?::bigint and seq < ?::bigint`,
};

/** Reads the record, and takes the entries that clients add. */
@Injectable()
export class ActivityService {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
    private readonly recorder: ActivityRecorder,
    private readonly companies: CompaniesService,
    private readonly removed: RemovedSubjects,
  ) {}

  /** Newest first. @throws NotFoundError */
  async list(companyId: string, query: ActivityQueryDto): Promise<Page<RowOf<Activity>>> {
    await this.companies.assertExists(companyId);
    const { since, until, agentId, runId, entityType, entityId, action } = query;
    const ofCompany = ['company_id = ?', companyId] as const;
    const scope: Condition = runId || entityId ? heldTo(...ofCompany) : ofCompany;
    const conditions: Condition[] = [
      agentId ? [`agent_id = ? and ${AGENT_IS_THERE}`, agentId, agentId, companyId] : scope,
      runId && ['run_id = ?', runId],
      entityType && ['entity_type = ?', entityType],
      entityType && !OF_EVERY_RUN.has(entityType) && [UNLIKE_EVERY_RUN.entityType, entityType],
      action && ['action = ?', action],
      action && !OF_EVERY_RUN.has(action) && [UNLIKE_EVERY_RUN.action, action],
      since && ['created_at >= ?', new Date(since)],
      until && ['created_at < ?', new Date(until)],
    ];
    const about = entityId ? await this.about(companyId, entityId) : [null];
    return this.page(conditions, about, query, runId || entityId ? 'sequence' : 'time');
  }

  /**
   * What happened to an issue, newest first.
   * @param reference its id or its identifier
   * @throws NotFoundError
   */
  async listOfIssue(reference: string, request: PageRequest): Promise<Page<RowOf<Activity>>> {
    const named = validate(reference) ? { id: reference } : { identifier: reference.toUpperCase() };
    const issue = await this.em.findOne(Issue, { ...named, deletedAt: null });
    if (!issue || !canSeeCompany(issue.companyId)) throw new NotFoundError('Issue');
    const about = await this.about(issue.companyId, issue.id);
    const conditions: Condition[] = [heldTo('company_id = ?', issue.companyId), heldTo(`entity_type = 'issue'`)];
    return this.page(conditions, about, request, 'sequence');
  }

  /**
   * Entries about one thing. What runs and their leases did is indexed by the run alone: an alternative, to be looked for
   * by itself, because both together would be planned as a look through the company's entries.
   */
  private async about(companyId: string, entityId: string): Promise<Condition[]> {
    const byKey = ['entity_key = ?', entityId] as const;
    if (!validate(entityId)) return [byKey];
    const [run] = await this.em.execute<{ id: string }[]>(
      `select id from heartbeat_runs where id = ?
       union all
       select heartbeat_run_id from environment_leases where id = ? and heartbeat_run_id is not null`,
      [entityId, entityId],
    );
    const runId = run?.id ?? (await this.removed.runOf(companyId, entityId));
    if (runId === null) return [byKey];
    const [isKey] = byKey;
    return [
      ['entity_id = ? and run_id = ?', entityId, runId],
      [`${isKey} and (run_id is null or run_id <> ?)`, entityId, runId],
    ];
  }

  /**
   * Adds a client's own entry.
   * @throws NotFoundError, ForbiddenError when an agent speaks for another
   */
  async add(companyId: string, dto: AddActivityDto): Promise<Activity> {
    await this.companies.assertExists(companyId);
    const entry = toEntry(companyId, dto);
    await this.assertMayName(companyId, entry);
    return inTransaction(this.em, async () => {
      await this.events.record(new CustomActivityAdded(companyId, entry));
      await this.recorder.write();
      return this.em.findOneOrFail(Activity, { companyId, [raw('tx = pg_current_xact_id()')]: [] });
    });
  }

  private async page(
    conditions: readonly Condition[],
    alternatives: readonly Condition[],
    { limit = MAX_PAGE, cursor }: PageRequest,
    order: Order,
  ): Promise<Page<RowOf<Activity>>> {
    const after = timeFromCursor(cursor);
    const beyond: Record<Order, Condition> = {
      time: after && [BEYOND.time, after.time, after.sequence, after.time, after.sequence],
      sequence: after && [BEYOND.sequence, after.sequence, after.sequence],
    };
    const rows: RowOf<Activity>[] = [];
    for (const one of alternatives) {
      const part = { orderBy: ORDER_BY[order], limit: limit + 1 };
      rows.push(...(await ENTRIES.find(this.em, [...conditions, one, beyond[order]], part)));
    }
    if (alternatives.length > 1) rows.sort((a, b) => b.seq - a.seq);
    return Page.of(rows, limit, ({ createdAt, seq }) => keyOfTime(createdAt, seq));
  }

  /** An entry names an agent and a run of its own company, and an agent's entry itself and its own runs. */
  private async assertMayName(companyId: string, { agentId, runId }: CustomEntry): Promise<void> {
    const actor = currentActor();
    const own = actor.type === 'agent' ? actor.id : null;
    if (own !== null && agentId !== null && agentId !== own) {
      throw new ForbiddenError('An agent can add entries about itself only');
    }
    if (agentId !== null && !(await this.em.count(Agent, { id: agentId, companyId }))) throw new NotFoundError('Agent');
    if (runId === null) return;
    const run = await this.em.findOne(HeartbeatRun, { id: runId, companyId }, { fields: ['id', 'agentId'] });
    if (!run) throw new NotFoundError('Run');
    if (own !== null && run.agentId !== own)
      throw new ForbiddenError('An agent can add entries about its own runs only');
  }
}

function toEntry(companyId: string, dto: AddActivityDto): CustomEntry {
  return {
    action: dto.action,
    subject: { type: dto.entityType ?? 'company', id: dto.entityId ?? companyId },
    agentId: dto.agentId ?? null,
    runId: dto.runId ?? null,
    details: dto.details ?? {},
  };
}
