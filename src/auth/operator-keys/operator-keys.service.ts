import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable, Logger } from '@nestjs/common';
import { EntityRows, type RowOf } from '../../database/entity-rows.js';
import { newId } from '../../database/id.js';
import type { Page, PageRequest } from '../../database/page.js';
import { inTransaction } from '../../database/transaction.js';
import { InvalidInputError, NotFoundError } from '../../errors/domain-error.js';
import { DomainEvents } from '../../events/domain-events.js';
import { currentActor } from '../../events/request-scope.js';
import { mintKey } from '../key-token.js';
import { OperatorKey } from './operator-key.entity.js';
import type { CreateOperatorKeyDto } from './operator-keys.dto.js';
import { OperatorKeyCreated, OperatorKeyRevoked } from './operator-keys.events.js';

const KEYS = new EntityRows(OperatorKey, ['tokenHash']);

/** The credentials of operators. */
@Injectable()
export class OperatorKeysService {
  private readonly logger = new Logger(OperatorKeysService.name);

  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
  ) {}

  /** Newest first, revoked and expired ones included. */
  list(request: PageRequest): Promise<Page<RowOf<OperatorKey, 'tokenHash'>>> {
    return KEYS.page(this.em, [], request);
  }

  /**
   * @returns the key, and the token that nobody can ask for again.
   * @throws NotFoundError when a company does not exist, InvalidInputError when the key would have expired.
   */
  async create(wish: CreateOperatorKeyDto): Promise<{ key: OperatorKey; token: string }> {
    return inTransaction(this.em, async () => {
      const { name, readOnly = false } = wish;
      const expiresAt = wish.expiresAt ? new Date(wish.expiresAt) : null;
      if (expiresAt && expiresAt <= (await this.now())) throw expired();
      const companyIds = wish.companyIds ? await this.existing(wish.companyIds) : null;
      const id = newId();
      const { token, hash } = mintKey('operator', id);
      const createdBy = currentActor().id;
      const key = this.em.create(OperatorKey, {
        id,
        name,
        companyIds,
        readOnly,
        expiresAt,
        createdBy,
        tokenHash: hash,
      });
      await this.em.flush();
      await this.tell(key, OperatorKeyCreated);
      return { key, token };
    });
  }

  /**
   * From the next request on the key stands for nobody. Repeating it changes nothing.
   * @throws NotFoundError
   */
  async revoke(keyId: string): Promise<void> {
    return inTransaction(this.em, async () => {
      await this.em.execute('select id from operator_keys where id = ? for no key update', [keyId]);
      const key = await this.em.findOne(OperatorKey, keyId, { refresh: true });
      if (!key) throw new NotFoundError('Key');
      if (key.revokedAt) return;
      key.revoke(currentActor().id, new Date());
      await this.em.flush();
      await this.tell(key, OperatorKeyRevoked);
    });
  }

  private async tell(key: OperatorKey, Event: typeof OperatorKeyCreated | typeof OperatorKeyRevoked): Promise<void> {
    const { id, name, readOnly, companyIds } = key;
    this.logger.log({ keyId: id, name, by: currentActor().id }, Event.action);
    await this.events.record((companyIds ?? []).map((companyId) => new Event(companyId, id, { name, readOnly })));
  }

  /** Each company once, and none that there is not. */
  private async existing(companyIds: readonly string[]): Promise<string[]> {
    const wanted = new Set(companyIds.map((id) => id.toLowerCase()));
    const rows = await this.em.execute<{ id: string }[]>(
      `select id from companies where id = any(?::uuid[]) order by id`,
      [`{${[...wanted].join(',')}}`],
    );
    if (rows.length < wanted.size) throw new NotFoundError('Company');
    return rows.map(({ id }) => id);
  }

  private async now(): Promise<Date> {
    const [{ now }] = await this.em.execute<[{ now: string }]>('select clock_timestamp() as now');
    return new Date(now);
  }
}

function expired(): InvalidInputError {
  return new InvalidInputError('Invalid input: expiresAt lies in the past', [
    { field: 'expiresAt', message: 'lies in the past' },
  ]);
}
