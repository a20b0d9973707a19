import { OnEvent } from '@nestjs/event-emitter';
import type { DomainEventClass } from './domain-event.js';

/** What a listener can listen for: one event class, or every event. */
type Subject = DomainEventClass | 'every event';

const nameOf = (subject: Subject) => (subject === 'every event' ? '*' : subject.wireName);

/**
 * Calls the method with `(event: DomainEvent, actor: Actor)` inside the transaction that records the event. What it
 * throws fails that transaction; what it writes through the injected `EntityManager` commits with it.
 */
export const InTransaction = (subject: Subject) => OnEvent(`tx:${nameOf(subject)}`, { suppressErrors: false });

/**
 * Calls the method with `(event: DomainEvent, actor: Actor)` once the outermost transaction has committed. It can no
 * longer undo anything; what it throws is logged. A process that dies in between never calls it.
 */
export const AfterCommit = (subject: Subject) => OnEvent(`committed:${nameOf(subject)}`, { suppressErrors: false });
