import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { answers } from '../../database/answers.js';
import type { EndedRun } from '../runs/ended-run.js';
import { Successors } from './successors.js';
import { holdAgents, tryHoldAgents, type HeldAgents } from './held-agents.js';
import { TerminalTransitions, type RunEnd, type WaitingEnd } from './terminal-transitions.js';

/** A run that is about to end. */
export interface EndingRun {
  readonly agentId: string;
  readonly issueId: string | null;
  /** Whether it ends well; unknown unless said. */
  readonly succeeds?: boolean;
}

/** For runs that were never started: their ends say nothing about their agents. */
const NOBODY: HeldAgents = new Map();

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

  /**
   * Holds agents and issues of runs, so that no wake decides about them meanwhile. Comes before any run is locked.
   *
   * The agent of a success on no issue has nothing to decide, unless a failure has left it in error: it is not held
   * else, so that wakes, starts and ends of one agent need not wait for each other.
   */
  async lockOwners(runs: readonly EndingRun[]): Promise<HeldAgents> {
    const agents = new Set(runs.map(({ agentId }) => agentId));
    const affected = new Set(runs.filter(isConsequential).map(({ agentId }) => agentId));
    const ifFaulty = [...agents].filter((id) => !affected.has(id));
    const [held] = await answers([
      holdAgents(this.em, [...agents], ifFaulty),
      this.lockIssues([...new Set(runs.flatMap(({ issueId }) => issueId ?? []))]),
    ]);
    return held;
  }

  private async lockIssues(ids: string[]): Promise<void> {
    if (ids.length === 0) return;
    const statement = `select id from issues where id = any(?::uuid[]) order by id for no key update`;
    await this.em.execute(statement, [`{${ids.join(',')}}`]);
  }

  /** The same for runs of which only the ids are known. */
  async lockOwnersOf(runIds: string[]): Promise<HeldAgents> {
    return this.lockOwners(await this.ownersOf(runIds));
  }

  /** The same for those of the runs whose agent and issue nobody else holds, so that one of them stops no other. */
  async tryLockOwnersOf(runIds: string[]): Promise<{ runIds: string[]; agents: HeldAgents }> {
    const runs = await this.ownersOf(runIds);
    const agents = await tryHoldAgents(
      this.em,
      runs.map(({ agentId }) => agentId),
    );
    const free = runs.filter((run) => agents.has(run.agentId));
    const issues = await this.tryLockIssues(free.flatMap((run) => run.issueId ?? []));
    return {
      agents,
      runIds: free.filter((run) => run.issueId === null || issues.has(run.issueId)).map(({ id }) => id),
    };
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
   * @param agents those that are held for it, or have been asked for: the ends come after that.
   * @returns the runs that this call ended; what is missing was ended before, or is not the caller's any more.
   */
  async endRunning(ends: RunEnd[], agents: HeldAgents | Promise<HeldAgents>): Promise<EndedRun[]> {
    const [held, ended] = await answers([agents, this.transitions.endRunning(ends)]);
    return this.conclude(ended, held);
  }

  /** Ends waiting runs that can never start, or are not wanted any more. The caller holds the runs. */
  async endWaiting(ends: WaitingEnd[]): Promise<EndedRun[]> {
    return this.conclude(await this.transitions.endWaiting(ends), NOBODY);
  }

  private ownersOf(runIds: string[]): Promise<(EndingRun & { id: string })[]> {
    return this.em.execute(
      `select id, agent_id as "agentId", issue_id as "issueId" from heartbeat_runs where id = any(?::uuid[])`,
      [`{${runIds.join(',')}}`],
    );
  }

  private async conclude(ended: EndedRun[], agents: HeldAgents): Promise<EndedRun[]> {
    if (ended.length > 0) await this.successors.settle(ended, agents);
    return ended;
  }
}

const isConsequential = ({ issueId, succeeds }: EndingRun) => issueId !== null || succeeds !== true;
