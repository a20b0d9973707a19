import { defineEntity, p } from '@mikro-orm/core';
import { assignChanges } from '../database/assign-changes.js';
import { createdAtColumn, idColumn, objectColumn, timeColumn, updatedAtColumn } from '../database/columns.js';
import { heartbeatPolicy } from './runtime-config.js';

export const AGENT_STATUSES = [
  'active',
  'idle',
  'running',
  'paused',
  'error',
  'terminated',
  'pending_approval',
] as const;
export type AgentStatus = (typeof AGENT_STATUSES)[number];

const AgentSchema = defineEntity({
  name: 'Agent',
  tableName: 'agents',
  properties: {
    id: idColumn(),
    companyId: p.uuid(),
    name: p.text(),
    role: p.text().default('general'),
    title: p.text().nullable(),
    status: p.text().$type<AgentStatus>().default('idle'),
    adapterType: p.text(),
    adapterConfig: objectColumn(),
    runtimeConfig: objectColumn(),
    defaultEnvironmentId: p.uuid().nullable(),
    pauseReason: p.text().nullable(),
    pausedAt: timeColumn().nullable(),
    lastHeartbeatAt: timeColumn().nullable(),
    nextTimerAt: timeColumn().nullable(),
    metadata: objectColumn(),
    deletedAt: timeColumn().nullable(),
    createdAt: createdAtColumn(),
    updatedAt: updatedAtColumn(),
    /** Derived from the agent's runs when read; undefined on an agent that was just created. */
    hasRunningRun: p
      .boolean()
      .formula((columns) => `agent_is_running(${columns.id})`)
      .nullable(),
  },
});

/** What may be changed of an agent; a field that is left out stays as it is. */
export interface AgentChanges {
  readonly name?: string;
  readonly role?: string;
  readonly title?: string | null;
  readonly adapterType?: string;
  readonly adapterConfig?: Record<string, unknown>;
  readonly runtimeConfig?: Record<string, unknown>;
  readonly defaultEnvironmentId?: string | null;
  /** Null empties it. */
  readonly metadata?: Record<string, unknown> | null;
}

/** Something that can be woken. */
export class Agent extends AgentSchema.class {
  /**
   * Writes the changes. A changed `adapterConfig` is merged into the present one, key by key, unless it shall replace
   * it or the adapter changes too: the keys of another adapter mean nothing to this one.
   * A timer of another interval has to be planned anew.
   * @returns the names of the fields that are different now.
   */
  change(changes: AgentChanges, { replaceAdapterConfig = false } = {}): string[] {
    const { adapterConfig, adapterType = this.adapterType, metadata, ...rest } = changes;
    const base = replaceAdapterConfig || adapterType !== this.adapterType ? {} : this.adapterConfig;
    const { intervalSec } = heartbeatPolicy(this.runtimeConfig);
    const fields = assignChanges<Agent, AgentChanges>(this, {
      ...rest,
      adapterType,
      adapterConfig: adapterConfig || base !== this.adapterConfig ? { ...base, ...adapterConfig } : undefined,
      metadata: metadata === null ? {} : metadata,
    });
    if (heartbeatPolicy(this.runtimeConfig).intervalSec !== intervalSec) this.nextTimerAt = null;
    return fields;
  }

  /**
   * Sets when its timer wakes it first, unless that is set: within one interval from now, at random, so that many
   * agents that are made at once do not all wake at once. Nothing wakes an agent whose timer is off.
   * @param now by the database's clock.
   */
  planTimer(now: Date, random: () => number = Math.random): void {
    const { enabled, intervalSec } = heartbeatPolicy(this.runtimeConfig);
    if (!enabled || this.status === 'terminated') this.nextTimerAt = null;
    else this.nextTimerAt ??= new Date(now.getTime() + Math.ceil((1 - random()) * intervalSec * 1000));
  }

  /**
   * Moves a timer that is due on to its first beat after now, counted from the beat that it was due at: nothing drifts,
   * and beats that were missed collapse into one. One that is not due yet stays.
   * @param now by the database's clock.
   */
  beat(now: Date): void {
    this.planTimer(now);
    if (!this.nextTimerAt || this.nextTimerAt > now) return;
    const stepMs = heartbeatPolicy(this.runtimeConfig).intervalSec * 1000;
    const missed = Math.floor((now.getTime() - this.nextTimerAt.getTime()) / stepMs);
    this.nextTimerAt = new Date(this.nextTimerAt.getTime() + (missed + 1) * stepMs);
  }

  pause(reason: string | null, at: Date): void {
    this.status = 'paused';
    this.pauseReason = reason;
    this.pausedAt = at;
  }

  /** @param now by the database's clock: beats that passed meanwhile are not made up for. */
  resume(now: Date): void {
    this.status = 'idle';
    this.pauseReason = null;
    this.pausedAt = null;
    this.beat(now);
  }

  /** Final: a terminated agent is never woken again. */
  terminate(): void {
    this.status = 'terminated';
    this.pauseReason = null;
    this.pausedAt = null;
    this.nextTimerAt = null;
  }

  delete(at: Date): void {
    this.terminate();
    this.deletedAt = at;
  }
}
AgentSchema.setClass(Agent);

/** The status as clients see it: `running` follows the agent's runs and is not stored. */
export function visibleStatusOf({ status, hasRunningRun }: Pick<Agent, 'status' | 'hasRunningRun'>): AgentStatus {
  const atRest = status === 'idle' || status === 'active' || status === 'error';
  return atRest && hasRunningRun ? 'running' : status;
}
