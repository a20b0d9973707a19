import type { FinalRecord, RecordedLease, RecordedRun } from '../record.js';
import type { Sign } from '../signs-of-life.js';
import { checkFencedLock, type Hold } from './fenced-locks.js';

/** From somebody's first sign to his last, counted in signs of everybody. */
interface Life {
  readonly holder: string;
  readonly leaseId: string;
  readonly pid: number;
  readonly first: number;
  readonly last: number;
  readonly hasEnded: boolean;
}

/** How much may be held or run at once. */
export interface Limits {
  /** By environment. */
  readonly capacities: ReadonlyMap<string, number>;
  /** By agent. */
  readonly caps: ReadonlyMap<string, number>;
}

/** What contradicts, in the order of what they themselves wrote, what was promised to those who hold leases. */
export function checkSigns(
  signs: readonly Sign[],
  { runs, leases }: Pick<FinalRecord, 'runs' | 'leases'>,
  { capacities, caps }: Limits,
): string[] {
  const lives = livesOf(signs);
  const byLease = new Map(leases.map((lease) => [lease.id, lease]));
  const byRun = new Map(runs.map((run) => [run.id, run]));
  const unknown = lives.filter(({ leaseId }) => !byLease.has(leaseId));
  const known = lives.filter(({ leaseId }) => byLease.has(leaseId));
  const holdsBy = (lockOf: (run: RecordedRun | undefined, lease: RecordedLease) => string | null) =>
    Map.groupBy(
      known.flatMap((life) => {
        const lease = byLease.get(life.leaseId)!;
        const lock = lockOf(byRun.get(life.holder), lease);
        return lock === null ? [] : [holdOf(lock, life, lease)];
      }),
      ({ lock }) => lock,
    );
  return [
    ...unknown.map(({ holder, leaseId }) => `${holder} acted under the lease ${leaseId}, of which nobody knows`),
    ...startedTwice(lives, byRun),
    ...succeededUnseen(lives, runs),
    ...[...holdsBy((run) => (run ? chainOf(run, byRun) : null))].flatMap(([, holds]) => checkFencedLock(holds, 1)),
    ...[...holdsBy((run) => (run && caps.has(run.agentId) ? run.agentId : null))].flatMap(([agentId, holds]) =>
      checkFencedLock(withoutSlots(holds), caps.get(agentId)!).map((violation) => `Agent ${violation}`),
    ),
    ...[...holdsBy((_, { environmentId }) => (capacities.has(environmentId) ? environmentId : null))].flatMap(
      ([environmentId, holds]) => checkFencedLock(holds, capacities.get(environmentId)!),
    ),
  ];
}

export function livesOf(signs: readonly Sign[]): Life[] {
  const lives = new Map<string, Life>();
  for (const [at, { what, holder, leaseId, pid }] of signs.entries()) {
    const id = `${leaseId} ${pid} ${holder}`;
    const life = lives.get(id) ?? { holder, leaseId, pid, first: at, last: at, hasEnded: false };
    lives.set(id, { ...life, last: at, hasEnded: life.hasEnded || what === 'end' });
  }
  return [...lives.values()];
}

/** A life takes in its last sign. */
const holdOf = (lock: string, { holder, pid, first, last }: Life, { slot, token }: RecordedLease): Hold => {
  return { lock, slot, holder: `${holder} as process ${pid}`, token, from: first, until: last + 1 };
};

const withoutSlots = (holds: readonly Hold[]) => holds.map((hold) => ({ ...hold, slot: null }));

/** The first of the runs that were tried again in turn. */
function chainOf(run: RecordedRun, runs: ReadonlyMap<string, RecordedRun>): string {
  let first = run;
  while (first.retryOfRunId) first = runs.get(first.retryOfRunId)!;
  return `The work of run ${first.id}`;
}

function startedTwice(lives: readonly Life[], runs: ReadonlyMap<string, RecordedRun>): string[] {
  return [...Map.groupBy(lives, ({ holder }) => holder)].flatMap(([holder, all]) =>
    runs.has(holder) && all.length > 1
      ? [`Run ${holder} was started ${all.length} times, as processes ${all.map(({ pid }) => pid).join(' and ')}`]
      : [],
  );
}

/** A success was one. */
function succeededUnseen(lives: readonly Life[], runs: readonly RecordedRun[]): string[] {
  const ended = new Set(lives.filter(({ hasEnded }) => hasEnded).map(({ holder }) => holder));
  return runs
    .filter(({ id, status }) => status === 'succeeded' && !ended.has(id))
    .map(({ id }) => `Run ${id} succeeded by the record, and its process never came to its end`);
}
