import type { Benchmark } from './benchmark.ts';
import { leaseCycle } from './lease-cycle/lease-cycle.ts';
import { startUp } from './start-up.ts';

/** Every benchmark, in the order in which they run. */
export const SUITE: readonly Benchmark[] = [startUp, leaseCycle];
