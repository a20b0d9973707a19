import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import type { Actor } from '../events/actor.js';
import type { DomainEvent, DomainEventClass } from '../events/domain-event.js';
import { InTransaction } from '../events/listeners.js';
import { withoutSecrets } from '../redaction/secret-names.js';
import { ActivityRow } from './activity-row.entity.js';
import { CustomActivityAdded } from './activity.events.js';
import { leaseOf, writtenAlone, writtenTogether, type Told } from './told-together.js';

/** An entry that the one about the other half of the same change may still join. */
interface Half {
  readonly told: Told;
  readonly row: ActivityRow;
}

/** Folds every domain event into one entry of the record, in the transaction that records the event. */
@Injectable()
export class ActivityRecorder {
  /** By transaction and lease. */
  private readonly halves = new WeakMap<object, Map<string, Half>>();

  constructor(private readonly em: EntityManager) {}

  @InTransaction('every event')
  record(event: DomainEvent, actor: Actor): void {
    const told = entryOf(event, actor);
    const leaseId = leaseOf(told);
    if (leaseId === null) {
      this.em.create(ActivityRow, writtenAlone(told));
      return;
    }
    const halves = this.halvesOf(this.em.getTransactionContext<object>()!);
    const first = halves.get(leaseId);
    halves.delete(leaseId);
    const both = first && !first.row.isWritten() ? writtenTogether(first.told, told) : null;
    if (both) this.em.assign(first!.row, { entityType: null, entityId: null, details: null, ...both });
    else halves.set(leaseId, { told, row: this.em.create(ActivityRow, writtenAlone(told)) });
  }

  private halvesOf(transaction: object): Map<string, Half> {
    const halves = this.halves.get(transaction) ?? new Map<string, Half>();
    this.halves.set(transaction, halves);
    return halves;
  }
}

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
