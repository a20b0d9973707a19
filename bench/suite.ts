import type { Benchmark } from './benchmark.ts';
import { children } from './children.ts';
import { claimBurst } from './claim-burst.ts';
import { growth } from './growth/growth.ts';
import { reaper } from './growth/reaper.ts';
import { heartbeat } from './heartbeat/heartbeat.ts';
import { leaseCycle } from './lease-cycle/lease-cycle.ts';
import { renewals } from './renewals/renewals.ts';
import { startUp } from './start-up.ts';

/** Every benchmark, in the order in which they run. */
export const SUITE: readonly Benchmark[] = [
  ...[startUp, leaseCycle, heartbeat, claimBurst, children, renewals, reaper, growth],
];
