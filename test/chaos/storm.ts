import { setTimeout as delay } from 'node:timers/promises';
import type { Deployment } from './deployment.js';
import { FAULTS, type FaultName, type PlannedFault } from './faults.js';

/** Carries out a plan of faults. */
export class Storm {
  /** How often each was done. */
  readonly done = new Map<FaultName, number>();
  /** What could not be done or undone. */
  readonly errors: string[] = [];
  private readonly busy = new Set<unknown>();
  private readonly under = new Set<Promise<void>>();

  constructor(
    private readonly deployment: Deployment,
    private readonly plan: readonly PlannedFault[],
  ) {}

  /** Begins each at its time, and returns when all have been undone. */
  async rage(): Promise<void> {
    const begunAt = performance.now();
    for (const planned of this.plan) {
      await delay(Math.max(0, planned.atMs - (performance.now() - begunAt)));
      const act = this.inflict(planned).finally(() => this.under.delete(act));
      this.under.add(act);
    }
    await Promise.all(this.under);
  }

  /** Left out where something is being done to the same thing already. */
  private async inflict({ name, target, forMs }: PlannedFault): Promise<void> {
    const fault = FAULTS[name];
    const { apis, runners } = this.deployment;
    const members = fault.to === 'api' ? apis : runners;
    const member = members[target % members.length];
    const thing = fault.to === 'api' || fault.to === 'runner' ? member : fault.to;
    if (this.busy.has(thing)) return;
    this.busy.add(thing);
    try {
      this.done.set(name, (this.done.get(name) ?? 0) + 1);
      await fault.inflict(this.deployment, member, forMs);
    } catch (error) {
      this.errors.push(`${name}: ${String(error)}`);
    } finally {
      this.busy.delete(thing);
    }
  }
}
