import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';
import { CompaniesService } from '../companies/companies.service.js';
import { BerthConfig } from '../config/config.js';
import { RETENTION_KINDS, SETTING_OF, type RetentionKind } from './retention-kind.js';

/** How long one kind of thing is kept of a company, and how far back it is complete. */
export interface KindRetention {
  /** Null for ever. */
  readonly days: number | null;
  readonly own: boolean;
  readonly completeSince: Date | null;
}

/** Says how far back a company's past can be asked for. */
@Injectable()
export class CompanyRetentionService {
  constructor(
    private readonly em: EntityManager,
    private readonly companies: CompaniesService,
    private readonly config: BerthConfig,
  ) {}

  /** @throws NotFoundError */
  async read(companyId: string): Promise<Record<RetentionKind, KindRetention>> {
    const { retention } = await this.companies.require(companyId);
    const rows = await this.em.execute<{ kind: RetentionKind; complete_since: string | null }[]>(
      'select kind, complete_since from retention_horizons where company_id = ?',
      [companyId],
    );
    const horizons = new Map(rows.map(({ kind, complete_since }) => [kind, complete_since]));
    const kinds = RETENTION_KINDS.map((kind) => {
      const own = retention[SETTING_OF[kind]];
      const since = horizons.get(kind) ?? null;
      const days = (own ?? this.config.retention[SETTING_OF[kind]]) || null;
      return [kind, { days, own: own !== undefined, completeSince: since === null ? null : new Date(since) }];
    });
    return Object.fromEntries(kinds) as Record<RetentionKind, KindRetention>;
  }
}
