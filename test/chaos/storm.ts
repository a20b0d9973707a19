import { setTimeout as delay } from 'node:timers/promises';
import type { Deployment } from './deployment.js';
import { FAULTS, type FaultName, type PlannedFault } from './faults.js';

/** How much longer than planned a fault may take until it is undone, in milliseconds: servers have to stop and start. */
const PATIENCE_MS = 90_000;

/** Carries out a plan of faults. */
export class Storm {
  /** How often each was done. */
  readonly done = new Map<FaultName, number>();
  /** What could not be done or undone. */
  readonly errors: string[] = [];
  /** What went on long after its time: a server does not stop, or does not start. */
  readonly stuck: string[] = [];
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
      const under = fault.inflict(this.deployment, member, forMs);
      const isOver = await Promise.race([under.then(() => true), delay(forMs + PATIENCE_MS, false, { ref: false })]);
      if (isOver) return;
      this.stuck.push(
        `"${name}" was not over long after its time; ${member.name} said:\n${member.output.slice(-2000)}`,
      );
      await member.kill9();
      await under;
    } catch (error) {
      this.errors.push(`${name}: ${String(error)}`);
    } finally {
      this.busy.delete(thing);
    }
  }
}
