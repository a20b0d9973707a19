import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';
import { inTransaction } from '../database/transaction.js';
import { DomainEvents } from '../events/domain-events.js';
import type { RetentionKind } from './retention-kind.js';
import { RetentionRemoved, type RemovedRows } from './retention.events.js';

/** What is removed of which company: whatever ended before a time. */
export interface Removal {
  readonly companyId: string;
  readonly kind: RetentionKind;
  readonly before: Date;
}

/** What one page removed; `throughTx` is the youngest transaction of which an entry of the record was among it. */
export interface RemovedPage {
  readonly rows: RemovedRows;
  readonly throughTx?: string;
}

/** How long a page may take, and how long it may wait for somebody's lock, in milliseconds. */
const STATEMENT_MS = 30_000;
const LOCK_MS = 1_000;
/** Any constant: that one page follows another. One that folds entries has to know which rows are there. */
const PAGE_LOCK = 0x7061_6765;

/** Removes page after page: each with its horizon and its entry in the record, or not at all. */
@Injectable()
export class Removals {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
  ) {}

  /**
   * One page, in a transaction that neither waits nor lasts for long.
   * @returns how many rows it removed.
   */
  page(removal: Removal, remove: () => Promise<RemovedPage>): Promise<number> {
    return inTransaction(this.em, async () => {
      await this.em.execute(
        `select set_config('statement_timeout', '${STATEMENT_MS}', true), set_config('lock_timeout', '${LOCK_MS}', true),
           pg_advisory_xact_lock(${PAGE_LOCK})`,
      );
      const { rows, throughTx } = await remove();
      const removed = Object.values(rows).reduce((sum, count) => sum + count, 0);
      if (removed === 0) return 0;
      await this.raiseHorizon(removal, throughTx ?? null);
      await this.events.record(new RetentionRemoved(removal.companyId, removal.kind, removal.before, rows));
      return removed;
    });
  }

  /**
   * Notes that everything before the time has been looked at.
   * @param resumeAfter up to which run there is nothing left to look at; as before unless given.
   */
  async swept({ companyId, kind, before }: Removal, resumeAfter: string | null = null): Promise<void> {
    await this.em.execute(
      `insert into retention_horizons as h (company_id, kind, swept_to, resume_after) values (?, ?, ?, ?)
       on conflict (company_id, kind) do update set swept_to = excluded.swept_to,
         resume_after = coalesce(excluded.resume_after, h.resume_after)`,
      [companyId, kind, before, resumeAfter],
    );
  }

  private async raiseHorizon({ companyId, kind, before }: Removal, throughTx: string | null): Promise<void> {
    await this.em.execute(
      `insert into retention_horizons as h (company_id, kind, complete_since, through_tx) values (?, ?, ?, ?::xid8)
       on conflict (company_id, kind) do update set
         complete_since = greatest(h.complete_since, excluded.complete_since),
         through_tx = greatest(h.through_tx, excluded.through_tx)`,
      [companyId, kind, before, throughTx],
    );
  }
}
