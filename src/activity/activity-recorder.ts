import { Injectable } from '@nestjs/common';
import { EntityManager, type EventSubscriber, type TransactionEventArgs } from '@mikro-orm/postgresql';
import { sendWithCommit } from '../database/prepared-statements.js';
import type { Actor } from '../events/actor.js';
import type { DomainEvent, DomainEventClass } from '../events/domain-event.js';
import { InTransaction } from '../events/listeners.js';
import { withoutSecrets } from '../redaction/secret-names.js';
import { CustomActivityAdded } from './activity.events.js';
import { toldTogether, type Told } from './told-together.js';

/** Of every event, what the record says of it: written as the last thing before the commit, and sent together with it. */
@Injectable()
export class ActivityRecorder implements EventSubscriber {
  /** By transaction. */
  private readonly told = new WeakMap<object, Told[]>();

  constructor(private readonly em: EntityManager) {
    em.getEventManager().registerSubscriber(this);
  }

  @InTransaction('every event')
  record(event: DomainEvent, actor: Actor): void {
    const transaction = this.em.getTransactionContext<object>()!;
    const told = this.told.get(transaction) ?? [];
    this.told.set(transaction, told);
    told.push(entryOf(event, actor));
  }

  /** Writes at once what the current transaction has recorded, for whoever reads it in there. */
  async write(): Promise<void> {
    const rows = this.take(this.em.getTransactionContext<object>()!);
    if (rows) await this.em.execute(INSERT, [rows]);
  }

  beforeTransactionCommit({ em, transaction }: TransactionEventArgs): void {
    const rows = this.take(transaction as object);
    if (rows) sendWithCommit(em as EntityManager, INSERT, [rows], transaction as object);
  }

  private take(transaction: object): string | null {
    const told = this.told.get(transaction);
    this.told.delete(transaction);
    return told ? JSON.stringify(toldTogether(told)) : null;
  }
}

/** In the order in which it was told: the rows' numbers rise with it. */
const INSERT = `insert into activity_rows (company_id, actor_type, actor_id, action, entity_type, entity_id, agent_id, run_id,
    details, lease_id, environment_id, execution_workspace_id, issue_id, driver, lease_policy, host)
  select "companyId", "actorType", "actorId", action, "entityType", "entityId", "agentId", "runId",
    details, "leaseId", "environmentId", "executionWorkspaceId", "issueId", driver, "leasePolicy", host
  from jsonb_to_recordset(?::jsonb) as x("companyId" uuid, "actorType" text, "actorId" text, action text, "entityType" text,
    "entityId" text, "agentId" uuid, "runId" uuid, details jsonb, "leaseId" uuid, "environmentId" uuid,
    "executionWorkspaceId" uuid, "issueId" uuid, driver text, "leasePolicy" text, host text)`;

function entryOf(event: DomainEvent, actor: Actor): Told {
  // What an agent does on behalf of a run is told apart by that run, even if the fact itself concerns none.
  const agent = actor.type === 'agent' ? actor : null;
  return {
    companyId: event.companyId,
    actorType: actor.type,
    actorId: actor.id,
    action: event instanceof CustomActivityAdded ? event.entry.action : (event.constructor as DomainEventClass).action,
    entityType: event.subject.type,
    entityId: event.subject.id,
    agentId: event.agentId ?? agent?.id ?? null,
    runId: event.runId ?? agent?.runId ?? null,
    details: withoutSecrets(event.details()),
  };
}
