import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { inTransaction } from '../../database/transaction.js';
import { EnvironmentDraining } from '../../environments/environments.events.js';
import { NotFoundError } from '../../errors/domain-error.js';
import { DomainEvents } from '../../events/domain-events.js';
import { InTransaction } from '../../events/listeners.js';
import { LeaseRevokeRequested } from '../../leases/leases.events.js';
import { RevokeLeases } from '../../leases/revoke-leases.js';
import { CancelWishes } from './cancel-wishes.js';

/** By what active leases are picked out. */
export type RevokeScope = 'environment' | 'company' | 'runner' | 'run' | 'lease';

/** Why leases are revoked, and how long what holds them may still go on, in seconds. */
export interface Revocation {
  readonly reason: string;
  readonly graceSec: number;
}

/** A lease that is to end: at the latest when, unless its holder ends it before. */
export interface RevokedLease {
  readonly leaseId: string;
  readonly companyId: string;
  readonly environmentId: string;
  readonly heartbeatRunId: string | null;
  readonly holder: string;
  readonly endsAt: Date;
}

/** What a revocation found. */
export interface Revoked {
  /** What it revoked. */
  readonly revoked: RevokedLease[];
  /** How many leases were to end no later already, and were left at that. */
  readonly endingAnyway: number;
}

interface LeaseRow {
  id: string;
  company_id: string;
  environment_id: string;
  heartbeat_run_id: string | null;
  run_lease_id: string | null;
  holder: string;
  ends_at: string;
}

const SCOPES: Record<RevokeScope, { column: string; table: string; what: string }> = {
  environment: { column: 'environment_id', table: 'environments', what: 'Environment' },
  company: { column: 'company_id', table: 'companies', what: 'Company' },
  runner: { column: 'runner_id', table: 'runners', what: 'Runner' },
  run: { column: 'active_run_id', table: 'heartbeat_runs', what: 'Run' },
  lease: { column: 'id', table: 'environment_leases', what: 'Lease' },
};

/** Leases revoked in one transaction. */
const PAGE = 100;

/**
 * Takes leases away from their holders. With its first lease a run is ended, as `lease_revoked`: by the runner that has
 * it, or by the reaper once the lease has run out. A reservation, or a further lease of a run, is released alone, by the
 * reaper. A wish with a grace only comes to act later.
 */
@Injectable()
export class RevokeService {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
    private readonly wishes: CancelWishes,
    private readonly leases: RevokeLeases,
  ) {}

  /**
   * Revokes every lease in the scope that is active now, in pages of their own transactions: one that fails leaves those
   * before it revoked, and the call can be repeated.
   * @throws NotFoundError
   */
  async revoke(scope: RevokeScope, id: string, revocation: Revocation): Promise<Revoked> {
    const { table, what } = SCOPES[scope];
    const [known] = await this.em.execute<[{ newest: string }?]>(
      `select (select last_value from fencing_token) as newest from ${table} where id = ?`,
      [id],
    );
    if (!known) throw new NotFoundError(what);
    const revoked: RevokedLease[] = [];
    let endingAnyway = 0;
    for (let after = '0'; ;) {
      const page = await this.activeLeases(scope, id, after, known.newest);
      if (page.length === 0) return { revoked, endingAnyway };
      const ids = page.map((lease) => lease.id);
      const part = await inTransaction(this.em, () => this.revokeEach(ids, revocation));
      revoked.push(...part.revoked);
      endingAnyway += part.endingAnyway;
      after = page.at(-1)!.token;
    }
  }

  /**
   * A drain with a grace revokes what is held there, in the transaction that begins it. That holds the runs already, and
   * the environment, so that nothing is missing.
   */
  @InTransaction(EnvironmentDraining)
  async drained({ subject, grace }: EnvironmentDraining): Promise<void> {
    if (!grace) return;
    const rows = await this.em.execute<{ id: string }[]>(
      `select id from environment_leases where environment_id = ? and held_until is null and status = 'active'`,
      [subject.id],
    );
    const ids = rows.map(({ id }) => id);
    await this.revokeEach(ids, grace);
  }

  /** The next page, by tokens: what is given out from now on does not keep it going. */
  private activeLeases(
    scope: RevokeScope,
    id: string,
    after: string,
    newest: string,
  ): Promise<{ id: string; token: string }[]> {
    return this.em.execute(
      `select id, fencing_token as token from environment_leases
       where ${SCOPES[scope].column} = ? and held_until is null and status = 'active' and fencing_token > ?::bigint
         and fencing_token <= ?::bigint
       order by fencing_token limit ?`,
      [id, after, newest, PAGE],
    );
  }

  /** Runs are held first, then leases: nobody who holds a run for its end waits for one of them in another order. */
  private async revokeEach(leaseIds: string[], { reason, graceSec }: Revocation): Promise<Revoked> {
    const ids = `{${leaseIds.join(',')}}`;
    const runs = await this.em.execute<{ id: string }[]>(
      `select id from heartbeat_runs
       where id in (select l.heartbeat_run_id from environment_leases l
         where l.id = any(?::uuid[]) and l.run_lease_id = l.id) and status = 'running'
       order by id for no key update`,
      [ids],
    );
    const wished = await this.wishes.wish(
      runs.map(({ id }) => id),
      { code: 'lease_revoked', reason, graceSec },
    );
    const noted = await this.leases.revoke(leaseIds, reason, graceSec);
    // What is held now cannot end before this commits.
    const rows = await this.em.execute<LeaseRow[]>(
      `select l.id, l.company_id, l.environment_id, l.heartbeat_run_id, l.run_lease_id, l.holder,
         least(r.cancel_at, l.revoke_at) as ends_at
       from environment_leases l left join heartbeat_runs r on r.id = l.heartbeat_run_id
       where l.id = any(?::uuid[]) and l.status = 'active' order by l.id`,
      [ids],
    );
    const isWished = (row: LeaseRow) => row.run_lease_id === row.id && wished.has(row.heartbeat_run_id!);
    const revoked = rows.filter((row) => noted.has(row.id) || isWished(row)).map(revokedLease);
    await this.record(revoked, reason);
    return { revoked, endingAnyway: rows.length - revoked.length };
  }

  private async record(leases: RevokedLease[], reason: string): Promise<void> {
    await this.events.record(
      leases.map(({ leaseId: id, companyId, environmentId, heartbeatRunId, endsAt }) => {
        const facts = { environmentId, reason, endsAt: endsAt.toISOString() };
        return new LeaseRevokeRequested({ id, companyId, heartbeatRunId }, facts);
      }),
    );
  }
}

const revokedLease = (row: LeaseRow): RevokedLease => ({
  leaseId: row.id,
  companyId: row.company_id,
  environmentId: row.environment_id,
  heartbeatRunId: row.heartbeat_run_id,
  holder: row.holder,
  endsAt: new Date(row.ends_at),
});
