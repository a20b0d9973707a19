import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable, Logger } from '@nestjs/common';
import { BerthConfig } from '../../config/config.js';
import { StartupError } from '../../config/startup-error.js';
import { newId } from '../../database/id.js';
import { mintKey } from '../key-token.js';
import { hashOf } from '../token-hash.js';
import { OperatorKey } from './operator-key.entity.js';

/** Any constant: what servers that start at once queue for. */
const LOCK = 0x6b65_7973;

/** Sees to it that somebody can operate an authenticated server: makes the first key, or takes the one that is given. */
@Injectable()
export class FirstOperatorKey {
  private readonly logger = new Logger(FirstOperatorKey.name);

  constructor(
    private readonly em: EntityManager,
    private readonly config: BerthConfig,
  ) {}

  /**
   * Does nothing in local trusted mode, in a process that serves no API, or where there is a key that can do everything.
   * Of servers that start at once one makes the key.
   * @param show is shown the token of a key that was made, before that is committed: one that counts has been seen.
   * @throws StartupError when the key that is given was revoked.
   */
  async establish(show: (token: string) => void): Promise<void> {
    if (this.config.auth === 'local_trusted' || !this.config.roles.has('api')) return;
    await this.em.fork().transactional(async (em) => {
      await em.execute('select pg_advisory_xact_lock(?)', [LOCK]);
      if (await hasUsable(em)) return this.tellWhyNotTaken();
      const id = newId();
      const given = this.config.bootstrapKey;
      const { token, hash } = given === null ? mintKey('operator', id) : { token: given, hash: hashOf(given) };
      await refuseRevoked(em, hash);
      em.create(OperatorKey, { id, name: 'bootstrap', tokenHash: hash, given: given !== null, createdBy: 'bootstrap' });
      await em.flush();
      this.logger.warn({ keyId: id, given: given !== null }, 'There was no operator key: this is the first');
      if (given === null) show(token);
    });
  }

  private tellWhyNotTaken(): void {
    if (this.config.bootstrapKey !== null) this.logger.log('BERTH_BOOTSTRAP_KEY is not taken: there is a key already');
  }
}

/** A key that can do everything, the making of other keys included. */
async function hasUsable(em: EntityManager): Promise<boolean> {
  const rows = await em.execute<object[]>(
    `select 1 from operator_keys where revoked_at is null and (expires_at is null or expires_at > clock_timestamp())
       and company_ids is null and not read_only limit 1`,
  );
  return rows.length > 0;
}

/** What was revoked once has leaked, perhaps, and never counts again. */
async function refuseRevoked(em: EntityManager, hash: Buffer): Promise<void> {
  if ((await em.count(OperatorKey, { tokenHash: hash })) === 0) return;
  throw new StartupError(
    'BERTH_BOOTSTRAP_KEY names a key that was revoked: give another one, or none to have one made',
  );
}
