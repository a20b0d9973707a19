import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';
import { BerthConfig, type RetentionDays } from '../config/config.js';
import type { Removal } from './removals.js';
import { RETENTION_KINDS, SETTING_OF, type RetentionKind } from './retention-kind.js';

/** The days of each kind for a company c, its own or the instance's: (activityDays, runDays, runLogDays). */
const DAYS = RETENTION_KINDS.map(
  (kind) => `('${kind}', coalesce((c.retention ->> '${SETTING_OF[kind]}')::integer, ?::integer))`,
).join(', ');

/**
 * Of which companies something may be due: (company_id, kind, before), for the parameters of `daysOf`. A time is the
 * beginning of a day, so that each company is swept once a day.
 */
export const DUE_REMOVALS = `
  select c.id as company_id, k.kind, k.before, h.resume_after from companies c
  cross join lateral (
    select kind, (date_trunc('day', now() at time zone 'UTC') - make_interval(days => days)) at time zone 'UTC' as before
    from (values ${DAYS}) as setting (kind, days) where days > 0) k
  left join retention_horizons h on h.company_id = c.id and h.kind = k.kind
  where h.swept_to is null or h.swept_to < k.before`;

export const daysOf = (defaults: RetentionDays): number[] => RETENTION_KINDS.map((kind) => defaults[SETTING_OF[kind]]);

/** Logs first: they take the room, and leave less for the runs' pages. */
const ORDER: readonly RetentionKind[] = ['runLogs', 'runs', 'activity'];

/** Finds out which companies have to be swept. */
@Injectable()
export class DueRemovals {
  constructor(
    private readonly em: EntityManager,
    private readonly config: BerthConfig,
  ) {}

  /** By kind, and by company. */
  async list(): Promise<Map<RetentionKind, Removal[]>> {
    const rows = await this.em
      .fork()
      .execute<{ company_id: string; kind: RetentionKind; before: string }[]>(
        `select company_id, kind, before from (${DUE_REMOVALS}) due order by company_id`,
        daysOf(this.config.retention),
      );
    const removals = rows.map(({ company_id, kind, before }) => ({
      companyId: company_id,
      kind,
      before: new Date(before),
    }));
    const byKind = ORDER.map((kind) => [kind, removals.filter((removal) => removal.kind === kind)] as const);
    return new Map(byKind.filter(([, found]) => found.length > 0));
  }
}
