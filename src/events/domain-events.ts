import { Injectable, Logger } from '@nestjs/common';
import { EntityManager, type EventSubscriber, type TransactionEventArgs } from '@mikro-orm/core';
import { EventEmitter2 } from '@nestjs/event-emitter';
import type { Actor } from './actor.js';
import { currentActor } from './request-scope.js';
import type { DomainEvent, DomainEventClass } from './domain-event.js';

interface Recorded {
  event: DomainEvent;
  actor: Actor;
}

/** Speaks domain events: first inside the transaction that causes them, then again after its commit. */
@Injectable()
export class DomainEvents implements EventSubscriber {
  private readonly logger = new Logger(DomainEvents.name);
  private readonly pending = new WeakMap<object, Recorded[]>();

  constructor(
    private readonly em: EntityManager,
    private readonly emitter: EventEmitter2,
  ) {
    em.getEventManager().registerSubscriber(this);
  }

  /**
   * Records facts in the current transaction: in-transaction listeners run now, after-commit listeners once the
   * outermost transaction has committed.
   * @param actor who caused them; the actor of the current request or task unless given.
   * @throws Error outside a transaction: a state change without one could not commit with its record.
   */
  async record(events: DomainEvent | DomainEvent[], actor: Actor = currentActor()): Promise<void> {
    const transaction = this.em.getTransactionContext<object>();
    if (!transaction) throw new Error('A domain event was recorded outside a transaction');
    const list = this.pending.get(transaction) ?? [];
    this.pending.set(transaction, list);
    for (const event of Array.isArray(events) ? events : [events]) {
      await this.emitter.emitAsync(`tx:${wireName(event)}`, event, actor);
      list.push({ event, actor });
    }
  }

  /** Commit hooks fire for savepoints too; only the outermost commit makes facts final. */
  afterTransactionCommit({ transaction }: TransactionEventArgs): void {
    if (!transaction || 'savepointName' in transaction) return;
    for (const { event, actor } of this.take(transaction as object)) {
      this.emitter.emitAsync(`committed:${wireName(event)}`, event, actor).catch((error: unknown) => {
        this.logger.error({ err: error, event: wireName(event) }, 'An after-commit listener failed');
      });
    }
  }

  afterTransactionRollback({ transaction }: TransactionEventArgs): void {
    if (transaction) this.take(transaction as object);
  }

  private take(transaction: object): Recorded[] {
    const list = this.pending.get(transaction) ?? [];
    this.pending.delete(transaction);
    return list;
  }
}

function wireName(event: DomainEvent): string {
  return (event.constructor as DomainEventClass).wireName;
}
