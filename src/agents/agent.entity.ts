import { defineEntity, p } from '@mikro-orm/core';
import { assignChanges } from '../database/assign-changes.js';
import { createdAtColumn, idColumn, objectColumn, timeColumn, updatedAtColumn } from '../database/columns.js';

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
   * @returns the names of the fields that are different now.
   */
  change(changes: AgentChanges, { replaceAdapterConfig = false } = {}): string[] {
    const { adapterConfig, adapterType = this.adapterType, metadata, ...rest } = changes;
    const base = replaceAdapterConfig || adapterType !== this.adapterType ? {} : this.adapterConfig;
    return assignChanges<Agent, AgentChanges>(this, {
      ...rest,
      adapterType,
      adapterConfig: adapterConfig || base !== this.adapterConfig ? { ...base, ...adapterConfig } : undefined,
      metadata: metadata === null ? {} : metadata,
    });
  }

  pause(reason: string | null, at: Date): void {
    this.status = 'paused';
    this.pauseReason = reason;
    this.pausedAt = at;
  }

  resume(): void {
    this.status = 'idle';
    this.pauseReason = null;
    this.pausedAt = null;
  }

  /** Final: a terminated agent is never woken again. */
  terminate(): void {
    this.status = 'terminated';
    this.pauseReason = null;
    this.pausedAt = null;
  }

  delete(at: Date): void {
    this.terminate();
    this.deletedAt = at;
  }

  /** The status as clients see it: `running` follows the agent's runs and is not stored. */
  visibleStatus(): AgentStatus {
    const atRest = this.status === 'idle' || this.status === 'active' || this.status === 'error';
    return atRest && this.hasRunningRun ? 'running' : this.status;
  }
}
AgentSchema.setClass(Agent);
