import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { AgentLifecycleService } from '../../agents/agent-lifecycle.service.js';
import type { HeldAgents } from './held-agents.js';
import type { EndedRun } from '../runs/ended-run.js';

/** Identical failures in a row after which an agent is paused. */
export const MAX_IDENTICAL_FAILURES = 6;

/** Ends that the agent itself did not bring about. */
const NOT_ITS_FAULT: ReadonlySet<string> = new Set([
  'process_lost',
  'runner_shutdown',
  'transient_upstream',
  'driver_failed',
  'place_unavailable',
  'execution_failed',
  'finalise_failed',
]);

/** What an agent becomes from which status, after a failure and after a success. */
const AFTER_FAILURE = { from: new Set(['idle', 'active', 'running']), to: 'error' } as const;
const AFTER_SUCCESS = { from: new Set(['error']), to: 'idle' } as const;

/** Lets an agent's status follow how its runs end. */
@Injectable()
export class AgentHealth {
  constructor(
    private readonly em: EntityManager,
    private readonly agents: AgentLifecycleService,
  ) {}

  /**
   * `error` after a failure of the agent's own, back to `idle` after a success; paused when it only ever fails alike.
   * @param agents those that are held: all that this can change.
   * @returns those of the agents that can be woken then.
   */
  async follow(ended: EndedRun[], agents: HeldAgents): Promise<ReadonlySet<string>> {
    const rows = [...agents.values()];
    const failed = new Set(ended.filter(isOwnFault).map((run) => run.agentId));
    const worked = new Set(ended.filter((run) => run.status === 'succeeded').map((run) => run.agentId));
    await this.setStatus(
      rows.flatMap(({ id, status }) => {
        const { from, to } = failed.has(id) ? AFTER_FAILURE : AFTER_SUCCESS;
        return (failed.has(id) || worked.has(id)) && from.has(status) ? [[id, to] as const] : [];
      }),
    );
    const paused = await this.pauseStuck([...failed]);
    const wakeable = rows.filter(
      ({ id, status, company_is_active }) =>
        company_is_active && status !== 'paused' && status !== 'terminated' && !paused.has(id),
    );
    return new Set(wakeable.map(({ id }) => id));
  }

  private async setStatus(changed: (readonly [agentId: string, status: string])[]): Promise<void> {
    if (changed.length === 0) return;
    await this.em.execute(
      `update agents a set status = x.value, updated_at = now() from jsonb_each_text(?::jsonb) x where a.id = x.key::uuid`,
      [JSON.stringify(Object.fromEntries(changed))],
    );
  }

  /** @returns those that have failed alike too often, which it pauses. */
  private async pauseStuck(agentIds: string[]): Promise<Set<string>> {
    if (agentIds.length === 0) return new Set();
    const rows = await this.em.execute<{ id: string; error: string | null }[]>(
      `select a.id, max(last.error) as error
       from agents a cross join lateral (
         select r.status, r.error_code, r.error from heartbeat_runs r
         where r.agent_id = a.id and r.status not in ('queued', 'scheduled_retry', 'running')
         order by r.id desc limit ?) last
       where a.id = any(?::uuid[]) group by a.id
       having count(*) filter (where last.status in ('failed', 'timed_out')) = ?
         and count(distinct (last.error_code, last.error)) = 1
       order by a.id`,
      [MAX_IDENTICAL_FAILURES, `{${agentIds.join(',')}}`, MAX_IDENTICAL_FAILURES],
    );
    for (const { id, error } of rows)
      await this.agents.pauseAfterFailures(id, `It failed ${MAX_IDENTICAL_FAILURES} times in a row: ${error}`);
    return new Set(rows.map(({ id }) => id));
  }
}

const isOwnFault = (run: EndedRun) =>
  (run.status === 'failed' || run.status === 'timed_out') &&
  run.leaseId !== null &&
  !NOT_ITS_FAULT.has(run.errorCode ?? '');
