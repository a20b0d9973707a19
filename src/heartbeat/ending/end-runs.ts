import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import type { EndedRun } from '../runs/ended-run.js';
import { Successors } from './successors.js';
import { TerminalTransitions, type RunEnd, type WaitingEnd } from './terminal-transitions.js';

/**
 * Ends runs, whoever has the right to: finaliser, reaper, gate or operator. What follows from the end (retry, waiting
 * wakes, the agent's status) is decided in the same transaction, under the locks that are taken here first.
 */
@Injectable()
export class EndRuns {
  constructor(
    private readonly em: EntityManager,
    private readonly transitions: TerminalTransitions,
    private readonly successors: Successors,
  ) {}

  /** Holds agents and issues of runs, so that no wake decides about them meanwhile. Comes before any run is locked. */
  async lockOwners(agentIds: Iterable<string>, issueIds: Iterable<string>): Promise<void> {
    await this.lock('agents', new Set(agentIds));
    await this.lock('issues', new Set(issueIds));
  }

  /** The same for runs of which only the ids are known. */
  async lockOwnersOf(runIds: string[]): Promise<void> {
    const runs = await this.em.execute<{ agent_id: string; issue_id: string | null }[]>(
      `select agent_id, issue_id from heartbeat_runs where id = any(?::uuid[])`,
      [`{${runIds.join(',')}}`],
    );
    await this.lockOwners(
      runs.map((run) => run.agent_id),
      runs.flatMap((run) => run.issue_id ?? []),
    );
  }

  /**
   * The same for those of the runs whose agent and issue nobody else holds, so that one of them stops no other.
   * @returns the ids of these runs.
   */
  async tryLockOwnersOf(runIds: string[]): Promise<string[]> {
    const runs = await this.em.execute<{ id: string; agent_id: string; issue_id: string | null }[]>(
      `select id, agent_id, issue_id from heartbeat_runs where id = any(?::uuid[])`,
      [`{${runIds.join(',')}}`],
    );
    const agents = await this.em.execute<{ id: string }[]>(
      `select id from agents where id = any(?::uuid[]) order by id for no key update skip locked`,
      [`{${runs.map((run) => run.agent_id).join(',')}}`],
    );
    const held = new Set(agents.map(({ id }) => id));
    const free = runs.filter((run) => held.has(run.agent_id));
    const issues = await this.tryLockIssues(free.flatMap((run) => run.issue_id ?? []));
    return free.filter((run) => run.issue_id === null || issues.has(run.issue_id)).map(({ id }) => id);
  }

  /** Holds those of the issues that nobody else holds; for a caller that holds runs already. */
  async tryLockIssues(issueIds: string[]): Promise<Set<string>> {
    if (issueIds.length === 0) return new Set();
    const rows = await this.em.execute<{ id: string }[]>(
      `select id from issues where id = any(?::uuid[]) order by id for no key update skip locked`,
      [`{${issueIds.join(',')}}`],
    );
    return new Set(rows.map(({ id }) => id));
  }

  /**
   * Ends running runs that hold the given leases.
   * @returns the runs that this call ended; what is missing was ended before, or is not the caller's any more.
   */
  async endRunning(ends: RunEnd[]): Promise<EndedRun[]> {
    return this.conclude(await this.transitions.endRunning(ends));
  }

  /** Ends waiting runs that can never start, or are not wanted any more. The caller holds the runs. */
  async endWaiting(ends: WaitingEnd[]): Promise<EndedRun[]> {
    return this.conclude(await this.transitions.endWaiting(ends));
  }

  private async lock(table: 'agents' | 'issues', ids: Set<string>): Promise<void> {
    if (ids.size === 0) return;
    await this.em.execute(`select id from ${table} where id = any(?::uuid[]) order by id for no key update`, [
      `{${[...ids].join(',')}}`,
    ]);
  }

  private async conclude(ended: EndedRun[]): Promise<EndedRun[]> {
    if (ended.length > 0) await this.successors.settle(ended);
    return ended;
  }
}
