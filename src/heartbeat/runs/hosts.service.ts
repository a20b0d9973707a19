import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { inTransaction } from '../../database/transaction.js';
import { DomainError } from '../../errors/domain-error.js';
import { CleanUpPlaces } from '../../leases/places/clean-up-places.js';
import { LOST_AFTER_SEC } from './runners.service.js';

/** Most places that one call forgets. */
const PAGE = 1000;

/** Somebody there would go on taking its places down. */
export class HostAliveError extends DomainError {
  readonly kind = 'conflict';
  readonly code = 'host_alive';

  constructor(runnerIds: string[]) {
    super(`A runner of this host was heard of in the last ${LOST_AFTER_SEC} seconds: stop it first`, { runnerIds });
  }
}

/** What becomes of a host's places. */
export interface ForgottenHost {
  /** How many places were forgotten. */
  forgotten: number;
  /** How many there still are: more than one call forgets, or used by leases that have not run out yet. */
  remaining: number;
}

/** What operators do with whole hosts. */
@Injectable()
export class HostsService {
  constructor(
    private readonly em: EntityManager,
    private readonly places: CleanUpPlaces,
  ) {}

  /**
   * Takes the operator's word for it that a host is gone with everything that was made on it.
   * @throws HostAliveError while a runner of it is heard of.
   */
  forget(host: string, reason: string): Promise<ForgottenHost> {
    return inTransaction(this.em, async () => {
      const alive = await this.em.execute<{ id: string }[]>(
        `select id from runners where host = ? and stopped_at is null
           and last_seen_at >= clock_timestamp() - make_interval(secs => ?)`,
        [host, LOST_AFTER_SEC],
      );
      if (alive.length > 0) throw new HostAliveError(alive.map(({ id }) => id));
      const forgotten = await this.places.forget(host, reason, PAGE);
      const [{ remaining }] = await this.em.execute<[{ remaining: number }]>(
        `select count(*)::integer as remaining from environment_places where host = ? and state <> 'gone'`,
        [host],
      );
      return { forgotten, remaining };
    });
  }
}
