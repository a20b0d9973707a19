import type { FinalRecord, RecordedRun } from '../record.js';
import type { AnsweredWake } from '../wakers.js';

const ENDED = new Set(['succeeded', 'failed', 'cancelled', 'timed_out']);
const OVER = new Set(['coalesced', 'skipped', 'completed', 'failed', 'cancelled']);

/** What contradicts that every run has ended, and once. */
export function checkRunsEnded({ runs }: Pick<FinalRecord, 'runs'>): string[] {
  return runs.flatMap(({ id, status, ends }) => [
    ...(ENDED.has(status) ? [] : [`Run ${id} is ${status} though nothing is in its way`]),
    ...(ENDED.has(status) && ends !== 1 ? [`Run ${id} is ${status}, and the record tells of ${ends} ends`] : []),
  ]);
}

/** What contradicts that nothing accepted was lost, and that nothing was made of it twice. */
export function checkNothingLost(
  answered: readonly AnsweredWake[],
  { runs, wakes }: Pick<FinalRecord, 'runs' | 'wakes'>,
): string[] {
  const accepted = answered.filter(({ status }) => status === 202);
  const kept = new Map(wakes.map((wake) => [wake.id, wake]));
  const byId = new Map(runs.map((run) => [run.id, run]));
  return [
    ...answered
      .filter(({ status }) => status !== 202)
      .map(({ key, status }) => `The wake "${key}" was answered ${status}, and nothing is wrong with it`),
    ...accepted.flatMap(({ key, wakeupRequestId }) => {
      const wake = kept.get(wakeupRequestId);
      if (!wake) return [`The wake "${key}" was accepted as ${wakeupRequestId}, and is not in the record`];
      return endOf(key, wake, byId);
    }),
    ...answeredOnce(accepted),
    ...unasked(accepted, wakes),
    ...runs.flatMap((run) => withoutSuccessor(run, runs)),
  ];
}

function endOf(
  key: string,
  { id, status, reason, runId }: FinalRecord['wakes'][number],
  runs: Map<string, RecordedRun>,
) {
  if (!OVER.has(status)) return [`The wake "${key}" (${id}) is still ${status}`];
  if (status === 'skipped') return reason ? [] : [`The wake "${key}" (${id}) was skipped without a reason`];
  if (status === 'cancelled' && reason) return [];
  const run = runId === null ? undefined : runs.get(runId);
  return run && ENDED.has(run.status) ? [] : [`The wake "${key}" (${id}) is ${status}, and has no run that has ended`];
}

/** The same wake, sent again, is the same wake. */
function answeredOnce(accepted: readonly AnsweredWake[]): string[] {
  return [...Map.groupBy(accepted, ({ key }) => key)].flatMap(([key, answers]) => {
    const ids = new Set(answers.map(({ wakeupRequestId }) => wakeupRequestId));
    return ids.size > 1 ? [`The wake "${key}" was sent again, and became ${[...ids].join(' and ')}`] : [];
  });
}

/** Every wake was answered in the end, so that each in the record is one of those. */
function unasked(accepted: readonly AnsweredWake[], wakes: FinalRecord['wakes']): string[] {
  const known = new Set(accepted.map(({ wakeupRequestId }) => wakeupRequestId));
  return wakes
    .filter(({ id, isAsked }) => isAsked && !known.has(id))
    .map(({ id }) => `The wake ${id} is in the record, and nobody was ever told of it`);
}

/** What was lost with its runner, or shut down with it, is tried again once. */
function withoutSuccessor(run: RecordedRun, runs: readonly RecordedRun[]): string[] {
  const isDue =
    run.status === 'failed' &&
    ((run.errorCode === 'process_lost' && run.lossRetries === 0) ||
      (run.errorCode === 'runner_shutdown' && run.shutdownRetries === 0));
  const successors = runs.filter(({ retryOfRunId }) => retryOfRunId === run.id);
  if (isDue && successors.length === 0) return [`Run ${run.id} failed with ${run.errorCode}, and was not tried again`];
  return successors.length > 1 ? [`Run ${run.id} was tried again ${successors.length} times`] : [];
}
