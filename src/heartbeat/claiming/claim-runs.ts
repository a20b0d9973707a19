import { setImmediate as nextTurn } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { AdapterRegistry } from '../adapters/adapter-registry.js';
import { RunTokens } from '../../auth/run-tokens.js';
import { BerthConfig } from '../../config/config.js';
import { answers } from '../../database/answers.js';
import { newId } from '../../database/id.js';
import { inTransactionToItsEnd, unanswered, type Unanswered } from '../../database/transaction.js';
import { bootClock } from '../../environments/drivers/guard/boot-clock.js';
import { DomainEvents } from '../../events/domain-events.js';
import { AcquireLeases, type AcquiredLease, type LeaseRequest } from '../../leases/acquire-leases.js';
import { BeginPlaces, type NewPlace } from '../../leases/places/begin-places.js';
import type { ClaimedRun } from '../runs/claimed-run.js';
import { EndRuns } from '../ending/end-runs.js';
import { Gate, type Candidate } from './gate.js';
import { HeartbeatStarted } from '../runs/heartbeat.events.js';
import { keptOf } from '../runs/placement-record.js';
import { Placement, type Verdict } from './placement.js';
import { ReadBack } from './read-back.js';
import { claimedRun, decisionOf, placeIdOf, type Starting } from './starting.js';
import { RunnerIdentity } from '../runs/runner-identity.js';
import { WAITING_STATUSES } from './turns.js';

type Start = Extract<Verdict, { kind: 'start' }>;
/** By run. */
type Tokens = ReadonlyMap<string, Pick<Starting, 'token' | 'tokenHash'>>;
type Never = Extract<Verdict, { kind: 'never' }>;

/** Starts runs: the only writer of `running`. Run and lease become so in one transaction. */
@Injectable()
export class ClaimRuns {
  constructor(
    private readonly em: EntityManager,
    private readonly events: DomainEvents,
    private readonly gate: Gate,
    private readonly placement: Placement,
    private readonly leases: AcquireLeases,
    private readonly places: BeginPlaces,
    private readonly endRuns: EndRuns,
    private readonly readBack: ReadBack,
    private readonly adapters: AdapterRegistry,
    private readonly tokens: RunTokens,
    private readonly identity: RunnerIdentity,
    private readonly config: BerthConfig,
  ) {}

  /**
   * Starts those of the candidates that pass the gate, at most `limit`, in one transaction; fails those that never can.
   * @returns what runs under its lease now: also where the answer was lost, which is then read back.
   */
  async claim(candidates: readonly Candidate[], limit: number): Promise<ClaimedRun[]> {
    const deadline = bootClock() + this.config.leaseTtlSec * 1000;
    let starting: Starting[] = [];
    const leases = await inTransactionToItsEnd(this.em, async () => {
      const entering = this.gate.enter(candidates);
      // Those that come first will start, as a rule; their tokens are signed while the database is busy.
      const minting = nextTurn().then(() => this.mint(candidates.slice(0, limit)));
      const [held, tokens] = await answers([entering, minting]);
      const { verdicts, evicted } = await this.placement.judge(held, limit);
      await this.refuse(verdicts.filter((verdict) => verdict.kind === 'never'));
      await this.places.evict(evicted);
      starting = await this.prepare(
        verdicts.filter((verdict) => verdict.kind === 'start'),
        tokens,
      );
      return this.start(starting);
    }).catch((error: unknown) => this.readBack.claimed(starting, deadline, error));
    return starting.flatMap((one) => {
      const lease = leases.get(one.leaseId);
      return lease ? [claimedRun(one, lease, this.identity.host, deadline)] : [];
    });
  }

  /** Those whose issue somebody is deciding about are left to the next pass: issues come before runs in lock order. */
  private async refuse(never: Never[]): Promise<void> {
    const held = await this.endRuns.tryLockIssues(never.flatMap(({ run }) => run.issue_id ?? []));
    const refused = never.filter(({ run }) => run.issue_id === null || held.has(run.issue_id));
    await this.endRuns.endWaiting(
      refused.map(({ run, status, code, message }) => ({ runId: run.id, status, code, message })),
    );
  }

  private async prepare(starts: Start[], minted: Tokens): Promise<Starting[]> {
    const others = starts.map(({ run }) => ({ id: run.id, agentId: run.agent_id, companyId: run.company_id }));
    const tokens = new Map([...minted, ...(await this.mint(others.filter(({ id }) => !minted.has(id))))]);
    return starts.map((start) => ({ ...start, leaseId: newId(), ...tokens.get(start.run.id)! }));
  }

  /** Nothing of it needs the answer to anything before it, the commit included. */
  private async start(starting: Starting[]): Promise<Unanswered<Map<string, AcquiredLease>>> {
    if (starting.length === 0) return unanswered(Promise.resolve(new Map<string, AcquiredLease>()));
    await this.places.takeOver(
      starting.flatMap(({ seat, leaseId }) => (seat.kept ? [{ id: seat.kept.id, leaseId }] : [])),
    );
    const acquired = await this.leases.acquire(starting.map((one) => this.leaseFor(one)));
    const started = unanswered(answers([acquired.answer, this.markRunning(starting)]).then(([leases]) => leases));
    const { host } = this.identity;
    await this.events.record(
      starting.map(({ run: { id, company_id: companyId, agent_id: agentId, issue_id: issueId }, leaseId }) => {
        return new HeartbeatStarted({ id, companyId, agentId }, { leaseId, host, issueId });
      }),
    );
    const places = starting.flatMap((one) => newPlace(one));
    if (places.length > 0) await answers([started.answer, this.places.begin(places)]);
    return started;
  }

  private async mint(runs: readonly Pick<Candidate, 'id' | 'agentId' | 'companyId'>[]): Promise<Tokens> {
    return new Map(
      await Promise.all(
        runs.map(async ({ id, agentId, companyId }) => {
          const { token, hash } = await this.tokens.mint({ runId: id, agentId, companyId });
          return [id, { token, tokenHash: hash }] as const;
        }),
      ),
    );
  }

  private leaseFor(starting: Starting): LeaseRequest {
    const { run, environment, leaseId, seat } = starting;
    return {
      id: leaseId,
      companyId: run.company_id,
      environmentId: environment.id,
      driver: environment.driver,
      executionWorkspaceId: run.workspace_id,
      workspaceMode: run.workspace_mode,
      issueId: run.issue_id,
      agentId: run.agent_id,
      heartbeatRunId: run.id,
      runLeaseId: leaseId,
      holder: `run:${run.id}`,
      leasePolicy: environment.leasePolicy,
      slot: seat.slot,
      placeId: placeIdOf(starting),
      providerLeaseId: seat.kept?.providerLeaseId ?? null,
      runnerId: this.identity.id,
      host: this.identity.host,
      ttlSec: this.config.leaseTtlSec,
      lifetimeSec: this.config.leaseMaxLifetimeSec,
    };
  }

  /** They are held; of one that had started all the same its new lease would keep the transaction from being committed. */
  private async markRunning(starting: Starting[]): Promise<void> {
    const rows = starting.map((one) => ({
      id: one.run.id,
      lease_id: one.leaseId,
      token_hash: one.tokenHash.toString('hex'),
      placement: keptOf(decisionOf(one)),
      ...this.adapters.limitsOf(one.run.adapter_type, one.run.adapter_config),
    }));
    await this.em.execute(
      `with started as (
         update heartbeat_runs r
         set status = 'running', lease_id = x.lease_id, runner_id = ?, token_hash = decode(x.token_hash, 'hex'),
           placement = x.placement, waiting_reason = null,
           started_at = clock_timestamp(), updated_at = now(),
           deadline_at = clock_timestamp() + make_interval(secs => x."timeoutSec"), idle_timeout_sec = x."idleTimeoutSec"
         from jsonb_to_recordset(?::jsonb) as x(id uuid, lease_id uuid, token_hash text, placement jsonb,
           "timeoutSec" double precision, "idleTimeoutSec" integer)
         where r.id = any(?::uuid[]) and r.id = x.id and r.status = any(?::text[])
         returning r.agent_id)
       update agents set last_heartbeat_at = clock_timestamp() where id = any(array(select agent_id from started))`,
      [this.identity.id, JSON.stringify(rows), `{${rows.map(({ id }) => id).join(',')}}`, WAITING_STATUSES],
    );
  }
}

/** What has to be made for a start; nothing where a place is taken over, or none is needed. */
function newPlace({ run, environment, leaseId, plan }: Starting): NewPlace[] {
  if (!plan) return [];
  const place: NewPlace = {
    ...plan,
    companyId: run.company_id,
    environmentId: environment.id,
    executionWorkspaceId: run.workspace_id,
    leaseId,
    driver: environment.driver,
    adapterType: run.adapter_type,
    configFingerprint: environment.fingerprint,
  };
  return [place];
}
