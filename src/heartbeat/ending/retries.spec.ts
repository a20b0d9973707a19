import { jest } from '@jest/globals';
import type { EndedRun } from '../runs/ended-run.js';
import { Retries } from './retries.js';

const MINUTE_SEC = 60;

describe(Retries.name, () => {
  const retries = new Retries(null as never, null as never);
  const failed = (errorCode: string, fields: Partial<EndedRun> = {}) =>
    retries.after({
      status: 'failed',
      errorCode,
      scheduledRetryAttempt: 0,
      processLossRetryCount: 0,
      shutdownRetryCount: 0,
      retryNotBefore: null,
      ...fields,
    } as EndedRun);
  afterEach(() => jest.restoreAllMocks());

  it.each([
    [0, 2],
    [1, 10],
    [2, 30],
    [3, 120],
  ])('waits after transient failure %i for %i minutes, a quarter more or less', (scheduledRetryAttempt, minutes) => {
    const after = (random: number) => {
      jest.spyOn(Math, 'random').mockReturnValue(random);
      return failed('transient_upstream', { scheduledRetryAttempt })!.afterSec!;
    };
    expect(after(0)).toBeCloseTo(0.75 * minutes * MINUTE_SEC);
    expect(after(0.5)).toBeCloseTo(minutes * MINUTE_SEC);
    expect(after(1 - Number.EPSILON)).toBeCloseTo(1.25 * minutes * MINUTE_SEC);
  });

  it('gives up after the fourth', () => {
    expect(failed('transient_upstream', { scheduledRetryAttempt: 4 })).toBeNull();
  });

  it('starts a lost and a shut-down run once more at once, each within its own budget', () => {
    expect(failed('process_lost', { shutdownRetryCount: 1, scheduledRetryAttempt: 4 })).toEqual({
      reason: 'process_lost',
      notBefore: null,
    });
    expect(failed('process_lost', { processLossRetryCount: 1 })).toBeNull();
    expect(failed('runner_shutdown', { processLossRetryCount: 1, scheduledRetryAttempt: 4 })).toEqual({
      reason: 'runner_shutdown',
      notBefore: null,
    });
    expect(failed('runner_shutdown', { shutdownRetryCount: 1 })).toBeNull();
  });

  it.each(['adapter_failed', 'driver_failed', 'http_404', 'cancelled'])('never after %s', (code) => {
    expect(failed(code)).toBeNull();
  });

  it('never after a run that did not fail', () => {
    expect(failed('transient_upstream', { status: 'cancelled' })).toBeNull();
    expect(failed('transient_upstream', { status: 'timed_out' })).toBeNull();
  });
});
