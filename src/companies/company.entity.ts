import { defineEntity, p } from '@mikro-orm/core';
import type { RetentionDays } from '../config/config.js';
import { assignChanges } from '../database/assign-changes.js';
import { createdAtColumn, idColumn, objectColumn, timeColumn, updatedAtColumn } from '../database/columns.js';

export const COMPANY_STATUSES = ['active', 'archived'] as const;
export type CompanyStatus = (typeof COMPANY_STATUSES)[number];

const CompanySchema = defineEntity({
  name: 'Company',
  tableName: 'companies',
  properties: {
    id: idColumn(),
    name: p.text(),
    description: p.text().nullable(),
    status: p.text().$type<CompanyStatus>().default('active'),
    issuePrefix: p.text(),
    issueCounter: p.integer().default(0),
    defaultEnvironmentId: p.uuid().nullable(),
    maxConcurrentRuns: p.integer().nullable(),
    maxWaitSec: p.integer().nullable(),
    maxAgents: p.integer().nullable().default(10_000),
    maxEnvironments: p.integer().nullable().default(1000),
    maxQueuedRuns: p.integer().nullable().default(10_000),
    /** What is left out is as the instance has it. */
    retention: objectColumn<Partial<RetentionDays>>(),
    archivedAt: timeColumn().nullable(),
    createdAt: createdAtColumn(),
    updatedAt: updatedAtColumn(),
  },
});

/** What may be changed of a company; a field that is left out stays as it is. */
export interface CompanyChanges {
  readonly name?: string;
  readonly description?: string | null;
  readonly defaultEnvironmentId?: string | null;
  readonly maxConcurrentRuns?: number | null;
  readonly maxWaitSec?: number | null;
  readonly maxAgents?: number | null;
  readonly maxEnvironments?: number | null;
  readonly maxQueuedRuns?: number | null;
  readonly retention?: Partial<RetentionDays>;
}

/** The tenant: everything is scoped to one. */
export class Company extends CompanySchema.class {
  /** @returns the names of the fields that are different now. */
  change({ retention, ...changes }: CompanyChanges): string[] {
    const said = retention && { retention: onlyGiven(retention) };
    return assignChanges<Company, CompanyChanges>(this, { ...changes, ...said });
  }

  archive(at: Date): void {
    this.status = 'archived';
    this.archivedAt = at;
  }
}
CompanySchema.setClass(Company);

/** A plain object, as one that was read is. */
const onlyGiven = (days: Partial<RetentionDays>): Partial<RetentionDays> =>
  Object.fromEntries(Object.entries(days).filter(([, count]) => count !== undefined));
