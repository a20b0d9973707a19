import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { validate } from 'uuid';
import { queueRoomOf } from './queue-room.js';
import type { ContextSnapshot, RunStatus } from '../runs/heartbeat-run.entity.js';

/** An agent that is held for deciding about its wakes. */
export interface LockedAgent {
  id: string;
  company_id: string;
  status: string;
  company_status: string;
  deleted: boolean;
  heartbeat: { enabled?: boolean; wakeOnDemand?: boolean } | null;
  /** How many of its company's runs may wait to start, and for how many more there is room; null for any number. */
  max_queued_runs: number | null;
  queue_room: number | null;
}

/** A run that a wake may join, or has to wait for; held, so that it cannot start or end meanwhile. */
export interface LiveRun {
  id: string;
  agent_id: string;
  status: RunStatus;
  context_snapshot: ContextSnapshot;
}

/** What the waiting run of an agent is looked for by, where a wake names no issue. */
export interface OwnTask {
  readonly companyId: string;
  readonly agentId: string;
  readonly taskKey: string | null;
  /** The scheduled retry of an earlier beat counts: else each beat of an outage would leave a chain of retries of its own. */
  readonly isTimer: boolean;
}

/** Holds what decides about wakes: agents, then issues, then runs, each kind in one statement and in the order of ids. */
@Injectable()
export class WakeLocks {
  constructor(private readonly em: EntityManager) {}

  /** Deleted ones too: they are terminated, and can still be the assignees of issues that something happens to. */
  async agents(ids: string[]): Promise<Map<string, LockedAgent>> {
    const rows = await this.em.execute<LockedAgent[]>(
      `with companies_of as materialized (
         select id, status, max_queued_runs, ${queueRoomOf('c')} as queue_room from companies c
         where id in (select company_id from agents where id = any(?::uuid[])))
       select a.id, a.company_id, a.status, c.status as company_status, a.deleted_at is not null as deleted,
         a.runtime_config -> 'heartbeat' as heartbeat, c.max_queued_runs, c.queue_room
       from agents a join companies_of c on c.id = a.company_id where a.id = any(?::uuid[])
       order by a.id for no key update of a`,
      [`{${ids.join(',')}}`, `{${ids.join(',')}}`],
    );
    return new Map(rows.map((row) => [row.id, row]));
  }

  /** @returns the ids of those that there are, by company and reference (an id or an identifier). */
  async issues(references: { companyId: string; reference: string }[]): Promise<Map<string, string>> {
    if (references.length === 0) return new Map();
    const wanted = references.map(({ companyId, reference }) => ({
      companyId,
      reference,
      id: validate(reference) ? reference : null,
    }));
    const rows = await this.em.execute<{ id: string; companyId: string; reference: string }[]>(
      `select i.id, x."companyId", x.reference
       from jsonb_to_recordset(?::jsonb) as x("companyId" uuid, reference text, id uuid)
       join issues i on i.company_id = x."companyId" and (i.id = x.id or i.identifier = x.reference) and i.deleted_at is null
       order by i.id for no key update of i`,
      [JSON.stringify(wanted)],
    );
    return new Map(rows.map(({ id, companyId, reference }) => [issueKey(companyId, reference), id]));
  }

  /** The live runs of issues, by issue. */
  async liveRuns(issueIds: string[]): Promise<Map<string, LiveRun>> {
    if (issueIds.length === 0) return new Map();
    const rows = await this.em.execute<(LiveRun & { issue_id: string })[]>(
      `select id, agent_id, issue_id, status, context_snapshot from heartbeat_runs
       where issue_id = any(?::uuid[]) and status in ('queued', 'running') order by id for no key update`,
      [`{${issueIds.join(',')}}`],
    );
    return new Map(rows.map((row) => [row.issue_id, row]));
  }

  /** For each of the tasks the run of no issue that waits for its agent already, if there is one. */
  async waitingRuns(tasks: OwnTask[]): Promise<Map<string, LiveRun>> {
    if (tasks.length === 0) return new Map();
    const rows = await this.em.execute<(LiveRun & { task: string })[]>(
      `select x.task, r.id, r.agent_id, r.status, r.context_snapshot
       from jsonb_to_recordset(?::jsonb) as x(task text, "companyId" uuid, "agentId" uuid, "taskKey" text, "isTimer" boolean)
       cross join lateral (
         select id, agent_id, status, context_snapshot from heartbeat_runs
         where company_id = x."companyId" and agent_id = x."agentId" and status in ('queued', 'scheduled_retry') and issue_id is null
           and context_snapshot ->> 'taskKey' is not distinct from x."taskKey"
           and (status = 'queued' or invocation_source = 'timer' and x."isTimer")
         order by due_at limit 1 for no key update) r`,
      [JSON.stringify(tasks.map((task) => ({ task: taskKey(task), ...task })))],
    );
    return new Map(rows.map(({ task, ...run }) => [task, run]));
  }
}

/** Names an issue as a wake names it. */
export const issueKey = (companyId: string, reference: string) => `${companyId} ${reference}`;

/** Names a task of an agent's own. */
export const taskKey = ({ agentId, taskKey: key, isTimer }: OwnTask) => JSON.stringify([agentId, key, isTimer]);
