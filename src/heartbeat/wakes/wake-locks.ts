import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { validate } from 'uuid';
import { answers } from '../../database/answers.js';
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

/** What a wake is about: an issue that its payload names, or else a task of the agent's own. */
export interface WakeTarget {
  readonly agentId: string;
  /** The issue's id or identifier; null for a task of the agent's own. */
  readonly issue: string | null;
  readonly taskKey: string | null;
  /** The scheduled retry of an earlier beat counts: else each beat of an outage would leave a chain of retries of its own. */
  readonly isTimer: boolean;
}

type IssueTarget = WakeTarget & { readonly issue: string };

/** What is held for deciding about wakes. */
export interface HeldForWakes {
  readonly agents: Map<string, LockedAgent>;
  /** The ids of the issues that there are, by `issueKey`. */
  readonly issues: Map<string, string>;
  /** The live run of an issue, by its id. */
  readonly byIssue: Map<string, LiveRun>;
  /** The run of no issue that waits already, by `taskKey`. */
  readonly byTask: Map<string, LiveRun>;
}

/** The issues i that are named, each in the company of the agent that is woken for it. */
const NAMED_ISSUES = `jsonb_to_recordset(?::jsonb) as x("agentId" uuid, issue text, id uuid)
  join agents a on a.id = x."agentId"
  join issues i on i.company_id = a.company_id and (i.id = x.id or i.identifier = x.issue) and i.deleted_at is null`;

/** Holds what decides about wakes: agents, then issues, then runs, each kind in one statement and in the order of ids. */
@Injectable()
export class WakeLocks {
  constructor(private readonly em: EntityManager) {}

  /** All of it is asked for at once: no statement needs to be told what the one before it found. */
  async hold(targets: readonly WakeTarget[]): Promise<HeldForWakes> {
    const ofIssues = targets.filter((target): target is IssueTarget => target.issue !== null);
    const ofNone = targets.filter(({ issue }) => issue === null);
    const [agents, issues, byIssue, byTask] = await answers([
      this.agents([...new Set(targets.map(({ agentId }) => agentId))]),
      this.issues(ofIssues),
      this.liveRuns(ofIssues),
      this.waitingRuns(ofNone),
    ]);
    return { agents, issues, byIssue, byTask };
  }

  /** Deleted ones too: they are terminated, and can still be the assignees of issues that something happens to. */
  private async agents(ids: string[]): Promise<Map<string, LockedAgent>> {
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

  private async issues(targets: readonly IssueTarget[]): Promise<Map<string, string>> {
    if (targets.length === 0) return new Map();
    const rows = await this.em.execute<{ id: string; agentId: string; issue: string }[]>(
      `select i.id, x."agentId", x.issue from ${NAMED_ISSUES} order by i.id for no key update of i`,
      [named(targets)],
    );
    return new Map(rows.map(({ id, agentId, issue }) => [issueKey(agentId, issue), id]));
  }

  private async liveRuns(targets: readonly IssueTarget[]): Promise<Map<string, LiveRun>> {
    if (targets.length === 0) return new Map();
    const rows = await this.em.execute<(LiveRun & { issue_id: string })[]>(
      `select id, agent_id, issue_id, status, context_snapshot from heartbeat_runs
       where issue_id = any(array(select i.id from ${NAMED_ISSUES})) and status in ('queued', 'running')
       order by id for no key update`,
      [named(targets)],
    );
    return new Map(rows.map((row) => [row.issue_id, row]));
  }

  private async waitingRuns(targets: readonly WakeTarget[]): Promise<Map<string, LiveRun>> {
    if (targets.length === 0) return new Map();
    const rows = await this.em.execute<(LiveRun & { task: string })[]>(
      `select x.task, r.id, r.agent_id, r.status, r.context_snapshot
       from jsonb_to_recordset(?::jsonb) as x(task text, "agentId" uuid, "taskKey" text, "isTimer" boolean)
       join agents a on a.id = x."agentId"
       cross join lateral (
         select id, agent_id, status, context_snapshot from heartbeat_runs
         where company_id = a.company_id and agent_id = a.id and status in ('queued', 'scheduled_retry') and issue_id is null
           and context_snapshot ->> 'taskKey' is not distinct from x."taskKey"
           and (status = 'queued' or invocation_source = 'timer' and x."isTimer")
         order by due_at limit 1 for no key update) r`,
      [JSON.stringify(targets.map((target) => ({ task: taskKey(target), ...target })))],
    );
    return new Map(rows.map(({ task, ...run }) => [task, run]));
  }
}

const named = (targets: readonly IssueTarget[]) =>
  JSON.stringify(targets.map(({ agentId, issue }) => ({ agentId, issue, id: validate(issue) ? issue : null })));

/** Names an issue as a wake of the agent names it. */
export const issueKey = (agentId: string, issue: string) => `${agentId} ${issue}`;

/** Names a task of an agent's own. */
export const taskKey = ({ agentId, taskKey: key, isTimer }: WakeTarget) => JSON.stringify([agentId, key, isTimer]);
