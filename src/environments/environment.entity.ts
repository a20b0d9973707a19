import { defineEntity, p } from '@mikro-orm/core';
import { createdAtColumn, idColumn, objectColumn, timeColumn, updatedAtColumn } from '../database/columns.js';

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
    envVars: objectColumn<Record<string, string>>(),
    capacity: p.integer().nullable(),
    metadata: objectColumn(),
    deletedAt: timeColumn().nullable(),
    createdAt: createdAtColumn(),
    updatedAt: updatedAtColumn(),
  },
});

/** Where runs can execute. */
export class Environment extends EnvironmentSchema.class {
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
