import { InvalidInputError, type FieldProblem } from '../errors/domain-error.js';

/** How an agent wants to be woken and run: `runtimeConfig.heartbeat` with its defaults filled in. */
export interface HeartbeatPolicy {
  /** Whether it is woken by a timer. */
  readonly enabled: boolean;
  /** Time between two timer wakes, in seconds. */
  readonly intervalSec: number;
  /** Whether anything but the timer may wake it. */
  readonly wakeOnDemand: boolean;
  /** How many of its runs may be running at once. */
  readonly maxConcurrentRuns: number;
}

/** `maxConcurrentRuns` is also the default of the column that the database derives: agents.max_concurrent_runs. */
const DEFAULTS: HeartbeatPolicy = { enabled: false, intervalSec: 300, wakeOnDemand: true, maxConcurrentRuns: 5 };
const YEAR_SEC = 31_536_000;

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const within = (value: unknown, min: number, max: number) =>
  typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max;

const isBoolean = { holds: (value: unknown) => typeof value === 'boolean', says: 'must be true or false' };
const RULES: Record<keyof HeartbeatPolicy, { holds: (value: unknown) => boolean; says: string }> = {
  enabled: isBoolean,
  intervalSec: { holds: (value) => within(value, 10, YEAR_SEC), says: `must be a whole number from 10 to ${YEAR_SEC}` },
  wakeOnDemand: isBoolean,
  maxConcurrentRuns: { holds: (value) => within(value, 1, 1000), says: 'must be a whole number from 1 to 1000' },
};

/**
 * Checks what Berth reads of an agent's `runtimeConfig`; whatever else is in there is kept and not looked at.
 * @throws InvalidInputError naming each field that is wrong.
 */
export function validateRuntimeConfig(runtimeConfig: Record<string, unknown>): void {
  const { heartbeat } = runtimeConfig;
  if (heartbeat === undefined) return;
  const problems: FieldProblem[] = [];
  if (!isObject(heartbeat)) problems.push({ field: 'runtimeConfig.heartbeat', message: 'must be an object' });
  else {
    for (const [name, { holds, says }] of Object.entries(RULES)) {
      const value = heartbeat[name];
      if (value !== undefined && !holds(value))
        problems.push({ field: `runtimeConfig.heartbeat.${name}`, message: says });
    }
  }
  if (problems.length > 0) throw new InvalidInputError('The runtimeConfig is not valid', problems);
}

/** An agent's heartbeat policy, from a `runtimeConfig` that was validated. */
export function heartbeatPolicy(runtimeConfig: Record<string, unknown>): HeartbeatPolicy {
  const given = (isObject(runtimeConfig.heartbeat) ? runtimeConfig.heartbeat : {}) as Partial<HeartbeatPolicy>;
  return {
    enabled: given.enabled ?? DEFAULTS.enabled,
    intervalSec: given.intervalSec ?? DEFAULTS.intervalSec,
    wakeOnDemand: given.wakeOnDemand ?? DEFAULTS.wakeOnDemand,
    maxConcurrentRuns: given.maxConcurrentRuns ?? DEFAULTS.maxConcurrentRuns,
  };
}
