import type fc from 'fast-check';
import { Harbour } from './lease-model.js';
import type { LeaseWorld } from './lease-world.js';

/**
 * One thing that somebody does about leases, in two halves: what Berth is asked for and answers, and whether the model
 * gives the same answer. So that several can act at once, and be followed in any order that explains what they were told.
 */
export abstract class LeaseStep<Told = unknown> implements fc.AsyncCommand<Harbour, LeaseWorld> {
  /** Does it. @param process which of the processes is asked. @returns what whoever did it was told. */
  abstract act(model: Harbour, world: LeaseWorld, process: number): Promise<Told>;

  /** Does the same in the model. @throws Error when that cannot have been told. */
  abstract follow(model: Harbour, told: Told, world: LeaseWorld): void;

  check(_model: Readonly<Harbour>): boolean {
    return true;
  }

  async run(model: Harbour, world: LeaseWorld): Promise<void> {
    this.follow(model, await this.act(model, world, 0), world);
    await world.check(model);
    world.played.steps += 1;
  }

  toString(): string {
    return `${this.constructor.name}(${JSON.stringify({ ...this })})`;
  }

  protected expectTold(told: unknown, expected: unknown): void {
    if (told !== expected)
      throw new Error(`${this.toString()} was told ${String(told)} instead of ${String(expected)}`);
  }
}

/** Several act at once: what they are told, and what there is then, is as after some order of all of them. */
export class Together implements fc.AsyncCommand<Harbour, LeaseWorld> {
  constructor(private readonly steps: LeaseStep[]) {}

  check(model: Readonly<Harbour>): boolean {
    return this.steps.every((step) => step.check(model));
  }

  async run(model: Harbour, world: LeaseWorld): Promise<void> {
    const told = await world.together(this.steps.map((step, process) => () => step.act(model, world, process)));
    const problems: string[] = [];
    for (const order of orders(this.steps.map((_, index) => index))) {
      const copy = model.copy();
      copy.isCrowded = true;
      try {
        for (const index of order) this.steps[index].follow(copy, told[index], world);
        await world.check(copy);
      } catch (error) {
        problems.push(`${order.join(', ')}: ${(error as Error).message}`);
        continue;
      }
      Object.assign(model, copy);
      world.played.steps += this.steps.length;
      return;
    }
    throw new Error(`${this.toString()} can have happened in no order:\n${problems.join('\n')}`);
  }

  toString(): string {
    return `Together(${this.steps.map(String).join(' | ')})`;
  }
}

/** One after the other, as each alone: what seldom comes together by chance. */
export class InTurn implements fc.AsyncCommand<Harbour, LeaseWorld> {
  constructor(private readonly steps: LeaseStep[]) {}

  check(): boolean {
    return true;
  }

  async run(model: Harbour, world: LeaseWorld): Promise<void> {
    for (const step of this.steps) if (step.check(model)) await step.run(model, world);
  }

  toString(): string {
    return `InTurn(${this.steps.map(String).join(', ')})`;
  }
}

function orders(items: number[]): number[][] {
  if (items.length < 2) return [items];
  return items.flatMap((first) => orders(items.filter((item) => item !== first)).map((rest) => [first, ...rest]));
}

export const pick = <T>(list: readonly T[], index: number): T | undefined => list[index % Math.max(list.length, 1)];
