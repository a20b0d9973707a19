import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import type { Actor } from '../events/actor.js';
import type { DomainEvent, DomainEventClass } from '../events/domain-event.js';
import { InTransaction } from '../events/listeners.js';
import { withoutSecrets } from '../redaction/secret-names.js';
import { Activity } from './activity.entity.js';
import { CustomActivityAdded } from './activity.events.js';

/** Folds every domain event into one entry of the record, in the transaction that records the event. */
@Injectable()
export class ActivityRecorder {
  constructor(private readonly em: EntityManager) {}

  @InTransaction('every event')
  record(event: DomainEvent, actor: Actor): void {
    // What an agent does on behalf of a run is told apart by that run, even if the fact itself concerns none.
    const agent = actor.type === 'agent' ? actor : null;
    this.em.create(Activity, {
      ...namesOf(event),
      companyId: event.companyId,
      actorType: actor.type,
      actorId: actor.id,
      entityType: event.subject.type,
      entityId: event.subject.id,
      agentId: event.agentId ?? agent?.id ?? null,
      runId: event.runId ?? agent?.runId ?? null,
      details: withoutSecrets(event.details()),
    });
  }
}

function namesOf(event: DomainEvent): { id?: string; action: string } {
  if (event instanceof CustomActivityAdded) return { id: event.entryId, action: event.entry.action };
  return { action: (event.constructor as DomainEventClass).action };
}
