import { Injectable, Logger } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { toQuarantine, type QuarantineState } from './database-state.js';
import { DatabaseWatch } from './database-watch.js';

/**
 * While it lasts nothing is reaped and nothing taken down, in any process: the database was restored, and what it calls
 * lost or left behind may be alive. It ends when an operator has looked.
 */
@Injectable()
export class Quarantine {
  private readonly logger = new Logger(Quarantine.name);
  /** Since when it lasts, as this process has told; null when it has told that there is none. */
  private told: number | null = null;

  constructor(
    private readonly em: EntityManager,
    private readonly watch: DatabaseWatch,
  ) {}

  /**
   * Whether what recovers and takes down must do nothing. To be asked before each pass: it looks at the database itself,
   * in two short statements at most, and so also notices one that was restored under a running process.
   */
  async isActive(): Promise<boolean> {
    const { quarantine } = await this.watch.look();
    this.tell(quarantine);
    return quarantine !== null;
  }

  /** The quarantine, or null while there is none. */
  async state(): Promise<QuarantineState | null> {
    const [row] = await this.em
      .fork()
      .execute<{ since: string | null; reason: string | null }[]>(
        'select quarantined_at as since, quarantine_reason as reason from instance',
      );
    return toQuarantine(row?.since ?? null, row?.reason ?? null);
  }

  /** Ends it, by the operator's word; nothing happens when there is none. */
  async confirm(): Promise<void> {
    await this.em.execute('update instance set quarantined_at = null, quarantine_reason = null');
  }

  private tell(quarantine: QuarantineState | null): void {
    const since = quarantine?.since.getTime() ?? null;
    if (since === this.told) return;
    this.told = since;
    if (!quarantine) return this.logger.warn('The quarantine is over: leases are reaped and places taken down again');
    this.logger.error(
      `${quarantine.reason}. Nothing is reaped or taken down until an operator confirms it: ` +
        'POST /api/admin/quarantine/confirm',
    );
  }
}
