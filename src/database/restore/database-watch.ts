import { Injectable, Logger, type BeforeApplicationShutdown } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { BerthConfig } from '../../config/config.js';
import { StartupError } from '../../config/startup-error.js';
import { inTransaction } from '../transaction.js';
import { markFile, markOf, readMark, writeMark, type DatabaseMark } from './database-mark.js';
import { nameOf, readableFacts, readState, type DatabaseState, type ReadableFacts } from './database-state.js';
import { isNew, tokenFloor, whyRestored } from './restored.js';

/** How old the mark may get while nothing remarkable happens. */
const WRITE_EVERY_MS = 60_000;
/** Any constant: what processes that find a restored database at once queue for. */
const LOCK = 0x6265_7275;

/**
 * Notices that the database was restored: what it says of leases and places is then old, and acting on it would end what
 * goes on and take down what is in use. It is compared with a mark that every process keeps in its home.
 */
@Injectable()
export class DatabaseWatch implements BeforeApplicationShutdown {
  private readonly logger = new Logger(DatabaseWatch.name);
  private readonly file: string;
  private facts: ReadableFacts | null = null;
  private writtenAt = -Infinity;
  private recognised = false;

  constructor(
    private readonly em: EntityManager,
    private readonly config: BerthConfig,
  ) {
    this.file = markFile(config.home);
  }

  /**
   * The first look of a process, before it does anything; takes in what the operator says (BERTH_RESTORED).
   * @throws StartupError when the mark cannot be used.
   */
  async recognise(): Promise<void> {
    // Taken back, so that it is believed again when the operator says it again.
    if (!this.config.restored) {
      await this.em.execute('update instance set restored_as = null where restored_as is not null');
    }
    const { mark, state } = await this.compare(this.config.restored);
    await this.write(mark, state).catch((error: NodeJS.ErrnoException) => {
      throw new StartupError(
        `The file ${this.file} cannot be written (${error.code}): start Berth as the user who made the directory, or set ` +
          'BERTH_HOME to another one.',
      );
    });
    this.recognised = true;
  }

  /**
   * Looks whether the database still is what it was, and puts it into quarantine when not.
   * @returns what it is.
   */
  async look(): Promise<DatabaseState> {
    const { mark, state } = await this.compare(false);
    if (mark?.epoch !== state.epoch || performance.now() - this.writtenAt >= WRITE_EVERY_MS) {
      await this.write(mark, state).catch((error: unknown) => {
        this.logger.warn({ err: error }, 'The mark of the database could not be written; trying again');
      });
    }
    return state;
  }

  /** Leaves the mark as new as it can be. */
  async beforeApplicationShutdown(): Promise<void> {
    if (!this.recognised) return;
    this.writtenAt = -Infinity;
    await this.look().catch(() => undefined);
  }

  private async compare(declared: boolean): Promise<{ mark: DatabaseMark | null; state: DatabaseState }> {
    // The mark first: read after the database, it could have been written by somebody who saw more of it.
    const mark = await readMark(this.file);
    const state = await this.read();
    if (reasonIn(mark, state, declared) === null) return { mark, state };
    await inTransaction(this.em, () => this.goOnAfterRestore(mark, declared));
    return { mark, state: await this.read() };
  }

  /** Once, whoever else has noticed: the others find a history with another name, and higher tokens. */
  private async goOnAfterRestore(mark: DatabaseMark | null, declared: boolean): Promise<void> {
    await this.em.execute('select pg_advisory_xact_lock(?)', [LOCK]);
    const state = await this.read();
    const reason = reasonIn(mark, state, declared);
    if (reason === null) return;
    const floor = tokenFloor(mark, state);
    await this.em.execute(`select setval('fencing_token', greatest(last_value, ?::bigint)) from fencing_token`, [
      floor,
    ]);
    await this.em.execute('update instance set token_floor = ?', [floor]);
    if (!declared && mark && isNew(mark, state)) return;
    await this.em.execute(
      `update instance set epoch = gen_random_uuid(), quarantined_at = clock_timestamp(), quarantine_reason = ?,
         restored_as = case when ? then ? else restored_as end`,
      [`The database was restored, or is another one: ${reason}`, declared, nameOf(state)],
    );
  }

  private async read(): Promise<DatabaseState> {
    this.facts ??= await readableFacts(this.em);
    return readState(this.em, this.facts);
  }

  private async write(mark: DatabaseMark | null, state: DatabaseState): Promise<void> {
    await writeMark(this.file, markOf(state, mark));
    this.writtenAt = performance.now();
  }
}

/** Why the database counts as restored, or null. What the operator says is believed once of each database. */
function reasonIn(mark: DatabaseMark | null, state: DatabaseState, declared: boolean): string | null {
  if (declared && state.restoredAs !== nameOf(state)) return 'BERTH_RESTORED says so';
  return mark && whyRestored(mark, state);
}
