import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { inTransaction } from '../../database/transaction.js';
import { DomainEvents } from '../../events/domain-events.js';
import { NOW, placeFacts, PLACE_COLUMNS, type PlaceRow } from './place-row.js';
import { PlaceCleaning, PlaceCleanUpFailed, PlaceForgotten, PlaceGone, PlaceParked } from './places.events.js';

/** One attempt at taking a place down, which this process alone has been given. */
export interface CleanUpAttempt {
  readonly id: string;
  readonly driver: string;
  readonly facts: Record<string, unknown>;
  /** Which attempt it is, from 1. */
  readonly attempt: number;
  /** When the place comes back to be attempted by anybody, as the database writes it: names this attempt. */
  readonly until: string;
}

/** Failed attempts after which a place is left as it is until an operator looks. */
export const MAX_ATTEMPTS = 10;
const MAX_ERROR_LENGTH = 500;

/** Kept for long enough, or waiting for a next holder where none will come. */
const KEPT_FOR_NOTHING = `state in ('warm', 'retained') and (keep_until <= now() or state = 'warm' and environment_id in (
  select e.id from environments e where e.status <> 'active' or e.deleted_at is not null))`;

/**
 * Brings places to their end: `warm | retained → cleaning → gone`. A place in `cleaning` never comes back from there, so
 * that whoever takes it down late, or twice, does no harm.
 */
@Injectable()
export class CleanUpPlaces {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
  ) {}

  /** The kept places whose time is over, in the order of their ids, at most `limit` after the given one. */
  async kept(after: string | null, limit: number): Promise<string[]> {
    const rows = await this.em.execute<{ id: string }[]>(
      `select id from environment_places where ${KEPT_FOR_NOTHING} and (?::uuid is null or id > ?) order by id limit ?`,
      [after, after, limit],
    );
    return rows.map(({ id }) => id);
  }

  /** Gives those of the places up whose time is still over; what a new lease is just taking over is passed by. */
  giveUp(ids: string[]): Promise<void> {
    return inTransaction(this.em, async () => {
      const rows = await this.em.execute<PlaceRow[]>(
        `update environment_places p
         set state = 'cleaning', keep_until = null, next_attempt_at = ${NOW}, updated_at = now()
         from (select id from environment_places where id = any(?::uuid[]) and ${KEPT_FOR_NOTHING}
           order by id for no key update skip locked) due
         where p.id = due.id returning ${PLACE_COLUMNS}`,
        [`{${ids.join(',')}}`],
      );
      await this.events.record(rows.map((row) => new PlaceCleaning(placeFacts(row))));
    });
  }

  /**
   * Gives this process places to take down that it can reach: those of its own host, and those of any.
   * @param limitSec how long an attempt may take. After that, and a while, the place comes back by itself.
   */
  take(host: string, limit: number, limitSec: number): Promise<CleanUpAttempt[]> {
    return this.em.execute<CleanUpAttempt[]>(
      `update environment_places p set attempts = p.attempts + 1, updated_at = now(),
         next_attempt_at = ${NOW} + make_interval(secs => ?)
       from (select id from environment_places
         where state = 'cleaning' and parked_at is null and (host = ? or host is null) and next_attempt_at <= now()
         order by next_attempt_at limit ? for no key update skip locked) due
       where p.id = due.id
       returning p.id, p.driver, p.facts, p.attempts as attempt, p.next_attempt_at::text as until`,
      [limitSec * 1.25, host, limit],
    );
  }

  /**
   * The place has been taken down, or was not there. Frees what it held, once nobody can be making it any more; until
   * then it is looked at again.
   */
  takenDown(attempt: CleanUpAttempt): Promise<void> {
    return inTransaction(this.em, async () => {
      const gone = await this.markGone(
        `p.id = ? and p.state = 'cleaning' and p.next_attempt_at = ?::timestamptz
         and p.realise_deadline_at <= clock_timestamp()`,
        [attempt.id, attempt.until],
      );
      await this.events.record(gone.map((row) => new PlaceGone(placeFacts(row))));
      if (gone.length > 0) return;
      await this.em.execute(
        `update environment_places set next_attempt_at = greatest(realise_deadline_at, ${NOW})
         where id = ? and state = 'cleaning' and next_attempt_at = ?::timestamptz`,
        [attempt.id, attempt.until],
      );
    });
  }

  /**
   * The place could not be taken down: it is tried again later, and after `MAX_ATTEMPTS` not any more.
   * @param delaySec until the next attempt.
   */
  failed(attempt: CleanUpAttempt, error: string, delaySec: number): Promise<void> {
    const lastError = error.slice(0, MAX_ERROR_LENGTH);
    return inTransaction(this.em, async () => {
      const rows = await this.em.execute<(PlaceRow & { parked: boolean })[]>(
        `update environment_places p set last_error = ?, updated_at = now(),
           next_attempt_at = ${NOW} + make_interval(secs => ?),
           parked_at = case when p.attempts >= ? then clock_timestamp() end
         where p.id = ? and p.state = 'cleaning' and p.next_attempt_at = ?::timestamptz and p.parked_at is null
         returning ${PLACE_COLUMNS}, p.parked_at is not null as parked`,
        [lastError, delaySec, MAX_ATTEMPTS, attempt.id, attempt.until],
      );
      await this.events.record(
        rows.map((row) => {
          const facts = placeFacts(row, { attempt: attempt.attempt, error: lastError });
          return row.parked ? new PlaceParked(facts) : new PlaceCleanUpFailed(facts);
        }),
      );
    });
  }

  /**
   * Takes an operator's word for it that places of a host are gone: nobody takes them down any more.
   * @param placeId one of them; all that no lease uses, at most `limit`, unless given.
   * @returns how many.
   */
  forget(host: string, reason: string, limit: number, placeId: string | null = null): Promise<number> {
    return inTransaction(this.em, async () => {
      const forgotten = await this.markGone(
        `p.id in (select id from environment_places where host = ? and state in ('warm', 'retained', 'cleaning')
           and id = coalesce(?, id) order by id limit ? for no key update)`,
        [host, placeId, limit],
      );
      await this.events.record(forgotten.map((row) => new PlaceForgotten(placeFacts(row, { reason }))));
      return forgotten.length;
    });
  }

  /** The lease that held the place gives its slot up with it. */
  private markGone(which: string, parameters: unknown[]): Promise<PlaceRow[]> {
    return this.em.execute<PlaceRow[]>(
      `with gone as (
         update environment_places p set state = 'gone', gone_at = clock_timestamp(), keep_until = null,
           next_attempt_at = null, parked_at = null, updated_at = now()
         where ${which} returning ${PLACE_COLUMNS}),
       freed as (
         update environment_leases l set held_until = greatest(clock_timestamp(), l.released_at), updated_at = now()
         from gone where l.id = gone.lease_id)
       select * from gone`,
      parameters,
    );
  }
}
