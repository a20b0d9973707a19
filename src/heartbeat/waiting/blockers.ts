import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import type { WaitingReason } from '../runs/heartbeat-run.entity.js';
import type { Blocked } from './blocked.js';
import { reasonOf } from './waiting-reasons.js';

/** Somebody who has what a run waits for. */
export interface Blocker {
  leaseId: string | null;
  heartbeatRunId: string | null;
  /** `run:<id>`, or the name of a holder outside. */
  holder: string;
  /** Of an ended lease: the state of the place that still takes up its room. */
  place: string | null;
  since: string;
}

/** A waiting reason as it is read: with who holds what it waits for, the longest holding first. */
export interface ExplainedReason extends WaitingReason {
  heldBy: Blocker[];
  /** How many there are; the list may be shorter. */
  heldCount: number;
  /** How many there may be; null where that is not the question. */
  capacity: number | null;
}

interface BlockerRow {
  scope: string;
  lease_id: string | null;
  run_id: string | null;
  holder: string;
  place: string | null;
  since: string;
  held: number;
  capacity: number | null;
}

const SHOWN = 20;

/** What holds a scope. Each selects: scope, lease, run, holder, place's state, since, capacity. */
const HOLDERS = {
  environment: `select e.id as scope, l.id as lease_id, l.heartbeat_run_id as run_id, l.holder,
      case when l.status <> 'active' then p.state end as place, l.acquired_at as since, e.capacity
    from environments e join environment_leases l on l.environment_id = e.id and l.held_until is null
    left join environment_places p on p.id = l.place_id where e.id = any(?::uuid[])`,
  workspace: `select w.id as scope, l.id as lease_id, l.heartbeat_run_id as run_id, l.holder, null as place,
      l.acquired_at as since, 1 as capacity
    from execution_workspaces w join environment_leases l on l.company_id = w.company_id
      and l.execution_workspace_id = w.id and l.status = 'active' where w.id = any(?::uuid[])`,
  agent: `select a.id as scope, r.lease_id, r.id as run_id, 'run:' || r.id as holder, null as place, r.started_at as since,
      a.max_concurrent_runs as capacity
    from agents a join heartbeat_runs r on r.company_id = a.company_id and r.agent_id = a.id and r.status = 'running' where a.id = any(?::uuid[])`,
  company: `select c.id as scope, r.lease_id, r.id as run_id, 'run:' || r.id as holder, null as place,
      r.started_at as since, c.max_concurrent_runs as capacity
    from companies c join heartbeat_runs r on r.company_id = c.id and r.status = 'running' where c.id = any(?::uuid[])`,
  issue: `select i.id as scope, r.lease_id, r.id as run_id, 'run:' || r.id as holder, null as place,
      coalesce(r.started_at, r.created_at) as since, 1 as capacity
    from issues i join heartbeat_runs r on r.issue_id = i.id and r.status in ('queued', 'running')
    where i.id = any(?::uuid[])`,
};

/** Codes whose scope is held by somebody; the others are states that nobody holds. */
const HELD = new Set([
  'issue_busy',
  'agent_at_capacity',
  'company_at_capacity',
  'environment_at_capacity',
  'workspace_occupied',
]);

/** Says who holds what runs wait for, at the moment that it is read: stored, it would be wrong by then. */
@Injectable()
export class Blockers {
  constructor(private readonly em: EntityManager) {}

  /** The reasons of those who wait, by their ids. */
  async explain(rows: Blocked[]): Promise<Map<string, ExplainedReason>> {
    const held = rows.filter((row) => HELD.has(row.code) && row.scope_id);
    const holders = new Map<string, BlockerRow[]>();
    for (const type of new Set(held.map((row) => row.scope_type!))) {
      const ids = [...new Set(held.filter((row) => row.scope_type === type).map((row) => row.scope_id!))];
      for (const holder of await this.holdersOf(type, ids)) {
        holders.set(holder.scope, [...(holders.get(holder.scope) ?? []), holder]);
      }
    }
    return new Map(
      rows.map((row) => [row.id, explained(row, HELD.has(row.code) ? (holders.get(row.scope_id!) ?? []) : [])]),
    );
  }

  private holdersOf(type: keyof typeof HOLDERS, ids: string[]): Promise<BlockerRow[]> {
    return this.em.execute<BlockerRow[]>(
      `select * from (select h.*, count(*) over (partition by scope)::integer as held,
         row_number() over (partition by scope order by since, run_id) as place_in_list from (${HOLDERS[type]}) h) ranked
       where place_in_list <= ${SHOWN} order by scope, place_in_list`,
      [`{${ids.join(',')}}`],
    );
  }
}

function explained(row: Blocked, all: BlockerRow[]): ExplainedReason {
  // A queued run of an issue does not wait for itself.
  const holders = all.filter((holder) => holder.run_id !== row.id);
  const reason = reasonOf(row);
  const [first] = holders;
  if (!first) return { ...reason, heldBy: [], heldCount: 0, capacity: null };
  const names = holders.slice(0, 3).map(nameOf).join(', ');
  const more = first.held > 3 ? ` and ${first.held - 3} more` : '';
  return {
    ...reason,
    message: `${reason.message}: ${first.held} of ${first.capacity}, held by ${names}${more}`,
    heldBy: holders.map((holder) => ({
      leaseId: holder.lease_id,
      heartbeatRunId: holder.run_id,
      holder: holder.holder,
      place: holder.place,
      since: new Date(holder.since).toISOString(),
    })),
    heldCount: first.held,
    capacity: first.capacity,
  };
}

function nameOf({ run_id: run, holder, place }: BlockerRow): string {
  const who = run ? `run ${run}` : `"${holder}"`;
  return place ? `the ${place} place of ${who}` : who;
}
