import type { KeptPlace } from '../../leases/places/begin-places.js';
import type { ChosenEnvironment } from './chosen-environments.js';
import type { GatedRun } from './gate.js';

/** What somebody who may start gets in an environment. */
export interface Seat {
  /** Which of the environment's slots; null where it has no capacity. */
  readonly slot: number | null;
  /** The place of a former holder that it takes over. */
  readonly kept: KeptPlace | null;
  /** How many leases held the environment before. */
  readonly held: number;
}

/** Who wants a seat, as far as that decides which. */
export interface SeatSeeker {
  readonly host: string;
  readonly adapterType: string;
  readonly workspaceId: string | null;
  readonly retryOfRunId: string | null;
  /** Since when it waits: reservations that wait longer come first. */
  readonly waitsSince: Date;
}

/** Counts down what a batch may still start; the counts were read under the owners' locks. */
export class Room {
  /** Warm places that stood in the way of somebody whom they do not fit. */
  readonly evicted: string[] = [];
  private readonly agents = new Map<string, number>();
  private readonly companies = new Map<string, number>();
  private readonly workspaces = new Set<string>();
  private readonly turnedAway = new Map<string, number>();

  constructor(private readonly host: string) {}

  /** @returns the seat that the run gets, or null where it has to wait. */
  take(run: GatedRun, environment: ChosenEnvironment): Seat | null {
    const agent = this.agents.get(run.agent_id) ?? run.agent_cap - run.agent_running;
    const company = this.companies.get(run.company_id) ?? (run.company_cap ?? Infinity) - run.company_running;
    const exclusive = run.workspace_mode === 'exclusive' ? run.workspace_id : null;
    const occupied = exclusive !== null && (run.workspace_occupied || this.workspaces.has(exclusive));
    const elsewhere = run.workspace_host !== null && run.workspace_host !== this.host;
    if (agent <= 0 || company <= 0 || occupied || elsewhere) return null;
    const seat = this.seat(environment, {
      host: this.host,
      adapterType: run.adapter_type,
      workspaceId: run.workspace_id,
      retryOfRunId: run.retry_of_run_id,
      waitsSince: new Date(run.due_at),
    });
    if (!seat) return null;
    this.agents.set(run.agent_id, agent - 1);
    this.companies.set(run.company_id, company - 1);
    if (exclusive) this.workspaces.add(exclusive);
    return seat;
  }

  /** A kept place that fits and its slot, else a free slot; where only warm places stand in the way, one gives way. */
  private seat(environment: ChosenEnvironment, seeker: SeatSeeker): Seat | null {
    const { held } = environment;
    if (!environment.counted) return null;
    const kept = environment.kept.find((place) => fits(place, environment, seeker)) ?? null;
    const ahead = environment.requests.filter((since) => since < seeker.waitsSince).length;
    const over = environment.capacity !== null && held > environment.capacity;
    if (kept && !over && (ahead === 0 || kept.state === 'retained')) {
      environment.kept = environment.kept.filter((place) => place !== kept);
      // One that was taken into use while its environment had no capacity has no slot: it gets one now.
      return { held, kept, slot: environment.capacity === null ? null : (kept.slot ?? this.freeSlot(environment)) };
    }
    if (environment.capacity === null) return { held, kept: null, slot: null };
    if (held + ahead >= environment.capacity) {
      this.makeWay(environment);
      return null;
    }
    environment.held += 1;
    return { held, kept: null, slot: this.freeSlot(environment) };
  }

  private freeSlot({ slots }: ChosenEnvironment): number {
    const slot = lowestFree(slots);
    slots.add(slot);
    return slot;
  }

  /** What is over its capacity, because that was lowered, has no room even when a place gives way. */
  private makeWay(environment: ChosenEnvironment): void {
    // One for each that waits is enough, those included that have been asked before.
    const waiting = (this.turnedAway.get(environment.id) ?? 0) + 1;
    this.turnedAway.set(environment.id, waiting);
    if (environment.givingWay >= waiting) return;
    const warm = environment.kept.findLast((place) => place.state === 'warm');
    if (!warm) return;
    environment.kept = environment.kept.filter((place) => place !== warm);
    environment.givingWay += 1;
    this.evicted.push(warm.id);
  }
}

/** The lowest number that none of the slots in use has. */
export function lowestFree(slots: ReadonlySet<number>): number {
  let slot = 1;
  while (slots.has(slot)) slot += 1;
  return slot;
}

/** Whether a place is what a new one would be: made by the same driver from the same config, used by the same adapter. */
function fits(place: KeptPlace, { fingerprint, leasePolicy }: ChosenEnvironment, seeker: SeatSeeker): boolean {
  const same =
    place.configFingerprint === fingerprint &&
    place.adapterType === seeker.adapterType &&
    (place.host === null || place.host === seeker.host);
  if (!same) return false;
  if (place.state === 'retained') return seeker.retryOfRunId !== null && place.runId === seeker.retryOfRunId;
  switch (leasePolicy) {
    case 'reuse_by_environment':
      return true;
    case 'reuse_by_execution_workspace':
      return place.executionWorkspaceId === seeker.workspaceId;
    default:
      return false;
  }
}
