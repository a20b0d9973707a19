import { defineEntity, p } from '@mikro-orm/core';
import { assignChanges } from '../database/assign-changes.js';
import { createdAtColumn, idColumn, objectColumn, timeColumn, updatedAtColumn } from '../database/columns.js';
import type { LeasePolicy } from './lease-policy.js';

export const ENVIRONMENT_STATUSES = ['active', 'draining', 'archived'] as const;
export type EnvironmentStatus = (typeof ENVIRONMENT_STATUSES)[number];

const EnvironmentSchema = defineEntity({
  name: 'Environment',
  tableName: 'environments',
  properties: {
    id: idColumn(),
    companyId: p.uuid(),
    name: p.text(),
    description: p.text().nullable(),
    driver: p.text(),
    status: p.text().$type<EnvironmentStatus>().default('active'),
    config: objectColumn(),
    envVars: objectColumn(),
    capacity: p.integer().nullable(),
    leasePolicy: p.text().$type<LeasePolicy>().default('ephemeral'),
    /** How long a finished place waits for its next holder, in seconds. */
    warmSec: p.integer().default(600),
    /** How long the place of a failed run is kept to be looked at, in seconds. */
    retainSec: p.integer().default(86_400),
    metadata: objectColumn(),
    deletedAt: timeColumn().nullable(),
    createdAt: createdAtColumn(),
    updatedAt: updatedAtColumn(),
  },
});

/** What may be changed of an environment; a field that is left out stays as it is. */
export interface EnvironmentChanges {
  readonly name?: string;
  readonly description?: string | null;
  readonly config?: Record<string, unknown>;
  readonly envVars?: Record<string, unknown>;
  readonly capacity?: number | null;
  readonly leasePolicy?: LeasePolicy;
  readonly warmSec?: number;
  readonly retainSec?: number;
  readonly metadata?: Record<string, unknown>;
}

/** Where runs can execute. */
export class Environment extends EnvironmentSchema.class {
  /** @returns the names of the fields that are different now. */
  change(changes: EnvironmentChanges): string[] {
    return assignChanges<Environment, EnvironmentChanges>(this, changes);
  }

  /** Takes no new leases and lets the current ones end. */
  drain(): void {
    this.status = 'draining';
  }

  activate(): void {
    this.status = 'active';
  }

  archive(): void {
    this.status = 'archived';
  }

  /** Gone for its users; the row stays, because the record names it. */
  delete(at: Date): void {
    this.deletedAt = at;
  }
}
EnvironmentSchema.setClass(Environment);
