import { setTimeout as delay } from 'node:timers/promises';
import { Injectable, Logger, type BeforeApplicationShutdown } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { Agent } from '../../agents/agent.entity.js';
import { isConnectionLost } from '../../database/database-errors.js';
import { inTransaction } from '../../database/transaction.js';
import { systemActor } from '../../events/actor.js';
import { runInScope } from '../../events/request-scope.js';
import { WakeService } from './wake.service.js';

const PERIOD_MS = 1000;
const PAGE = 100;

/** Wakes agents by their timers, in every process; each due agent is taken by one of them. */
@Injectable()
export class Timers implements BeforeApplicationShutdown {
  private readonly logger = new Logger(Timers.name);
  private readonly stopped = new AbortController();
  private loop: Promise<void> = Promise.resolve();

  constructor(
    private readonly em: EntityManager,
    private readonly wakes: WakeService,
  ) {}

  /** Begins in the background; called once everything listens. */
  start(): void {
    this.loop = this.tickUntilStopped();
  }

  async beforeApplicationShutdown(): Promise<void> {
    this.stopped.abort();
    await this.loop;
  }

  /**
   * Wakes every agent that is due, the longest due first; one that cannot be woken does not stop the others.
   * @param stopped ends it between two agents.
   */
  async tick(stopped?: AbortSignal): Promise<void> {
    const looked: string[] = [];
    for (let page = await this.due(looked); page.length > 0; page = await this.due(looked)) {
      for (const agentId of page) {
        if (stopped?.aborted) return;
        await this.beatAlone(agentId);
      }
      looked.push(...page);
    }
  }

  private async due(looked: string[]): Promise<string[]> {
    const rows = await this.em.execute<{ id: string }[]>(
      `select id from agents where next_timer_at <= clock_timestamp() and id <> all(?::uuid[])
       order by next_timer_at limit ?`,
      [`{${looked.join(',')}}`, PAGE],
    );
    return rows.map(({ id }) => id);
  }

  /** @throws only when the database cannot be reached. */
  private async beatAlone(agentId: string): Promise<void> {
    const report = (error: unknown) => {
      if (isConnectionLost(error)) throw error;
      this.logger.error({ err: error, agentId }, 'A timer could not wake its agent');
    };
    await runInScope({ actor: systemActor('timer'), requestId: null }, () =>
      this.beat(agentId)
        .catch((error: unknown) => {
          report(error);
          return this.passOver(agentId);
        })
        .catch(report),
    );
  }

  /** The next beat is set from the one before it: nothing drifts, and beats that were missed collapse into this one. */
  private beat(agentId: string): Promise<void> {
    return inTransaction(this.em, async () => {
      const agent = await this.takeDue(agentId);
      if (!agent) return;
      await this.wakes.wakeForEvent({
        agentId,
        source: 'timer',
        triggerDetail: 'system',
        reason: 'heartbeat_timer',
        payload: {},
      });
    });
  }

  private passOver(agentId: string): Promise<void> {
    return inTransaction(this.em, async () => void (await this.takeDue(agentId)));
  }

  /** @returns the agent with its next beat set, or null when somebody else has taken this one. */
  private async takeDue(agentId: string): Promise<Agent | null> {
    const [row] = await this.em.execute<{ now: string }[]>(
      `select clock_timestamp() as now from agents where id = ? and next_timer_at <= clock_timestamp()
       for no key update skip locked`,
      [agentId],
    );
    if (!row) return null;
    const agent = await this.em.findOneOrFail(Agent, agentId);
    agent.beat(new Date(row.now));
    await this.em.flush();
    return agent;
  }

  private async tickUntilStopped(): Promise<void> {
    const { signal } = this.stopped;
    while (!signal.aborted) {
      await this.tick(signal).catch((error: unknown) => {
        this.logger.warn({ err: error }, 'Due timers could not be looked for; trying again');
      });
      await delay(PERIOD_MS, undefined, { signal }).catch(() => undefined);
    }
  }
}
