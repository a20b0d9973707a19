/**
 * A past fact about one entity: ids and small values only, no entities. Its class is defined in the module that emits
 * it; its `wireName` (`lease.acquired`) is how listeners name it, its `action` how the activity record names it.
 */
export abstract class DomainEvent {
  /** Name on the event bus, for example `lease.acquired`. */
  static readonly wireName: string;
  /** Action of the activity entry that records this fact, for example `environment.lease_acquired`. */
  static readonly action: string;

  /** The tenant in which it happened. */
  abstract readonly companyId: string;
  /** The thing that changed. */
  abstract readonly subject: { readonly type: string; readonly id: string };
  /** The agent it concerns, if one. */
  readonly agentId: string | null = null;
  /** The heartbeat run it concerns, if one. */
  readonly runId: string | null = null;

  /** What the record says beyond ids; small, and never a secret. */
  details(): Record<string, unknown> {
    return {};
  }
}

/** A concrete event class: its static names and its constructor. */
export interface DomainEventClass<E extends DomainEvent = DomainEvent> {
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- a constructor type has to accept any parameters
  new (...args: any[]): E;
  readonly wireName: string;
  readonly action: string;
}

const registered = new Map<string, DomainEventClass>();

/**
 * Declares an event class under its names, so that the list of actions is generated and never written twice.
 * @throws Error when two classes claim one wire name or one action.
 */
export function RegisterEvent<E extends DomainEvent>(target: DomainEventClass<E>): void {
  for (const other of registered.values()) {
    if (other.wireName === target.wireName || other.action === target.action) {
      throw new Error(`${target.name} and ${other.name} share a wire name or an action`);
    }
  }
  registered.set(target.wireName, target);
}

/** Every registered event class, by action. */
export function registeredEvents(): DomainEventClass[] {
  return [...registered.values()].sort((a, b) => a.action.localeCompare(b.action));
}
