import { checkAppends, checkReader } from './checks/append-only.js';
import { checkExpiry } from './checks/expiry.js';
import { checkFencedLock, type Hold } from './checks/fenced-locks.js';
import { checkLeaseWrites } from './checks/lease-writes.js';
import { checkSigns } from './checks/signs.js';
import { checkNothingLost, checkRunsEnded } from './checks/wakes.js';
import type { Operation } from './history.js';
import type { RecordedLease, RecordedRun, RecordedWake } from './record.js';
import type { Sign } from './signs-of-life.js';
import type { AnsweredWake } from './wakers.js';

/** Each checker is content with what is sound, and names what is not: these are histories that were broken by hand. */
describe(checkFencedLock.name, () => {
  const hold = (token: number, from: number, until: number, slot = 1): Hold => {
    return { lock: 'berth', slot, holder: `holder ${token}`, token, from, until };
  };

  it('is content with one holder after the other', () => {
    expect(checkFencedLock([hold(1, 0, 5), hold(2, 5, 9), hold(4, 12, Infinity)], 1)).toEqual([]);
  });

  it('is content with as many at once as there are permits, each slot in turn', () => {
    expect(checkFencedLock([hold(1, 0, 9, 1), hold(2, 1, 4, 2), hold(3, 4, 9, 2)], 2)).toEqual([]);
  });

  it('sees two holders at once', () => {
    expect(checkFencedLock([hold(1, 0, 6), hold(2, 5, 9)], 1)).toEqual([
      expect.stringContaining('berth has 1 permits, held at once by holder 1 (token 1, 0 to 6) and holder 2'),
      expect.stringContaining('was given to holder 2 (token 2, 5 to 9) while holder 1'),
    ]);
  });

  it('sees more holders than permits, though each has a slot of its own', () => {
    const holds = [hold(1, 0, 9, 1), hold(2, 1, 9, 2), hold(3, 2, 9, 3)];
    expect(checkFencedLock(holds, 2)).toEqual([expect.stringContaining('has 2 permits, held at once by holder 1')]);
  });

  it('sees two holders of one slot, though there are permits for both', () => {
    expect(checkFencedLock([hold(1, 0, 6), hold(2, 5, 9)], 2)).toEqual([
      expect.stringContaining('was given to holder 2'),
    ]);
  });

  it('sees a holder who never let go', () => {
    expect(checkFencedLock([hold(1, 0, Infinity), hold(2, 5, 9)], 1)).toHaveLength(2);
  });

  it('sees a token that does not rise', () => {
    expect(checkFencedLock([hold(2, 0, 5), hold(1, 5, 9)], 1)).toEqual([
      expect.stringContaining('the token of holder 1 (token 1, 5 to 9) is not above holder 2'),
    ]);
    expect(checkFencedLock([hold(1, 0, 5), hold(1, 5, 9)], 1)).toHaveLength(1);
  });
});

describe(checkLeaseWrites.name, () => {
  /** `a` and `b` are two processes; what is begun is done at once unless said otherwise. */
  const operations = (...steps: [process: number, type: Operation['type'], f: string, token: number][]): Operation[] =>
    steps.map(([process, type, f, token], time) => {
      return { process, type, f, value: { lock: 'berth', slot: 1, token }, time };
    });

  it('is content with writes before the end, and with refused ones after it', () => {
    const sound = operations(
      [0, 'ok', 'acquire', 1],
      [0, 'invoke', 'renew', 1],
      [0, 'ok', 'renew', 1],
      [0, 'invoke', 'release', 1],
      [0, 'ok', 'release', 1],
      [0, 'invoke', 'renew', 1],
      [0, 'fail', 'renew', 1],
      [1, 'ok', 'acquire', 2],
    );
    expect(checkLeaseWrites(sound)).toEqual([]);
  });

  it('is content with a write that was on its way when somebody else came', () => {
    const sound = operations(
      [0, 'ok', 'acquire', 1],
      [0, 'invoke', 'renew', 1],
      [1, 'ok', 'acquire', 2],
      [0, 'ok', 'renew', 1],
    );
    expect(checkLeaseWrites(sound)).toEqual([]);
  });

  it('sees a renewal after the release', () => {
    const broken = operations(
      [0, 'invoke', 'release', 1],
      [0, 'ok', 'release', 1],
      [0, 'invoke', 'renew', 1],
      [0, 'ok', 'renew', 1],
    );
    expect(checkLeaseWrites(broken)).toEqual([
      'A renew of berth slot 1 with token 1 was accepted, though it had been released',
    ]);
  });

  it.each(['renew', 'release'])('sees a %s of a former holder', (f) => {
    const broken = operations([0, 'ok', 'acquire', 1], [1, 'ok', 'acquire', 2], [0, 'invoke', f, 1], [0, 'ok', f, 1]);
    expect(checkLeaseWrites(broken)).toEqual([
      `A ${f} of berth slot 1 with token 1 was accepted, though token 2 had been given out`,
    ]);
  });

  it('is content with an acquisition that is answered only after the next one', () => {
    const sound = operations(
      [0, 'invoke', 'acquire', 0],
      [1, 'invoke', 'acquire', 0],
      [1, 'ok', 'acquire', 2],
      [0, 'ok', 'acquire', 1],
    );
    expect(checkLeaseWrites(sound)).toEqual([]);
  });

  it('sees a slot that is given with a lower token', () => {
    const broken = operations([0, 'ok', 'acquire', 5], [1, 'invoke', 'acquire', 0], [1, 'ok', 'acquire', 4]);
    expect(checkLeaseWrites(broken)).toEqual(['berth slot 1 was given with token 4 after token 5']);
  });
});

const run = (id: string, fields: Partial<RecordedRun> = {}): RecordedRun => ({
  id,
  companyId: 'company',
  agentId: 'agent',
  status: 'succeeded',
  errorCode: null,
  leaseId: `lease of ${id}`,
  retryOfRunId: null,
  wakeupRequestId: `wakeup of ${id}`,
  lossRetries: 0,
  shutdownRetries: 0,
  finishedAt: 0,
  ends: 1,
  ...fields,
});
const lease = (runId: string, token: number, slot = 1): RecordedLease => ({
  id: `lease of ${runId}`,
  environmentId: 'berth',
  runId,
  slot,
  token,
  status: 'released',
  acquiredAt: 0,
  expiresAt: 1,
  heldUntil: 0,
  isReaped: false,
});
const lost = (id: string, fields: Partial<RecordedRun> = {}) =>
  run(id, { status: 'failed', errorCode: 'process_lost', ...fields });

describe(checkRunsEnded.name, () => {
  it('is content with runs that ended, and once', () => {
    expect(checkRunsEnded({ runs: [run('a'), lost('b')] })).toEqual([]);
  });

  it.each(['queued', 'running', 'scheduled_retry'])('sees a run that stays %s', (status) => {
    expect(checkRunsEnded({ runs: [run('a', { status, ends: 0 })] })).toEqual([
      expect.stringContaining(`is ${status}`),
    ]);
  });

  it.each([0, 2])('sees a run of whose end the record tells %i times', (ends) => {
    expect(checkRunsEnded({ runs: [run('a', { ends })] })).toEqual([expect.stringContaining(`tells of ${ends} ends`)]);
  });
});

describe(checkNothingLost.name, () => {
  const answered = (key: string, fields: Partial<AnsweredWake> = {}): AnsweredWake => ({
    key,
    companyId: 'company',
    status: 202,
    wakeupRequestId: `wakeup of ${key}`,
    wakeStatus: 'queued',
    runId: key,
    ...fields,
  });
  const wake = (runId: string, fields: Partial<RecordedWake> = {}): RecordedWake => ({
    id: `wakeup of ${runId}`,
    companyId: 'company',
    status: 'completed',
    reason: null,
    runId,
    isAsked: true,
    ...fields,
  });

  it('is content with wakes whose runs ended, that were skipped with a reason, or sent twice', () => {
    const skipped = { status: 'skipped', reason: 'agent_paused', runId: null };
    expect(
      checkNothingLost([answered('a'), answered('a'), answered('b')], {
        runs: [run('a')],
        wakes: [wake('a'), wake('b', skipped)],
      }),
    ).toEqual([]);
  });

  it('sees a wake that was refused', () => {
    expect(checkNothingLost([answered('a', { status: 409 })], { runs: [], wakes: [] })).toEqual([
      'The wake "a" was answered 409, and nothing is wrong with it',
    ]);
  });

  it('sees an accepted wake that is nowhere', () => {
    expect(checkNothingLost([answered('a')], { runs: [], wakes: [] })).toEqual([
      'The wake "a" was accepted as wakeup of a, and is not in the record',
    ]);
  });

  it.each(['queued', 'claimed', 'deferred_issue_execution'])('sees one that stays %s', (status) => {
    expect(checkNothingLost([answered('a')], { runs: [run('a')], wakes: [wake('a', { status })] })).toEqual([
      `The wake "a" (wakeup of a) is still ${status}`,
    ]);
  });

  it('sees one that is over without a run that has ended, and one that was skipped without a reason', () => {
    const running = { runs: [run('a', { status: 'running' })], wakes: [wake('a')] };
    expect(checkNothingLost([answered('a')], running)).toEqual([expect.stringContaining('has no run that has ended')]);
    expect(checkNothingLost([answered('a')], { runs: [], wakes: [wake('a')] })).toHaveLength(1);
    const skipped = { runs: [], wakes: [wake('a', { status: 'skipped', runId: null })] };
    expect(checkNothingLost([answered('a')], skipped)).toEqual([expect.stringContaining('without a reason')]);
  });

  it('sees a wake that was sent twice and became two', () => {
    const twice = [answered('a'), answered('a', { wakeupRequestId: 'wakeup of b', runId: 'b' })];
    expect(checkNothingLost(twice, { runs: [run('a'), run('b')], wakes: [wake('a'), wake('b')] })).toEqual([
      'The wake "a" was sent again, and became wakeup of a and wakeup of b',
    ]);
  });

  it('sees a wake that nobody was told of, unless Berth made it itself', () => {
    const record = { runs: [run('a'), run('b')], wakes: [wake('a'), wake('b')] };
    expect(checkNothingLost([answered('a')], record)).toEqual([expect.stringContaining('nobody was ever told of it')]);
    const own = { runs: record.runs, wakes: [wake('a'), wake('b', { isAsked: false })] };
    expect(checkNothingLost([answered('a')], own)).toEqual([]);
  });

  it('sees a lost run that was not tried again, or more than once', () => {
    const retry = (id: string) => run(id, { retryOfRunId: 'a', lossRetries: 1 });
    const over = (runs: RecordedRun[]) => checkNothingLost([], { runs, wakes: [] });
    expect(over([lost('a'), retry('b')])).toEqual([]);
    expect(over([lost('a')])).toEqual(['Run a failed with process_lost, and was not tried again']);
    expect(over([lost('a', { lossRetries: 1 })])).toEqual([]);
    expect(over([lost('a'), retry('b'), retry('c')])).toEqual(['Run a was tried again 2 times']);
    expect(over([run('a', { status: 'failed', errorCode: 'runner_shutdown' })])).toHaveLength(1);
  });
});

describe(checkExpiry.name, () => {
  /** The machine was started at 1000. */
  const over = (fields: Partial<RecordedLease>, ended: Partial<RecordedRun> = {}, signs: Sign[] = []) =>
    checkExpiry({ runs: [run('a', ended)], leases: [{ ...lease('a', 1), expiresAt: 3_000, ...fields }] }, signs, 1_000);

  it('is content with ends while the lease lasted, and with those of somebody else after it', () => {
    expect(over({ heldUntil: 2_999 }, { finishedAt: 2_999 })).toEqual([]);
    expect(over({ heldUntil: null }, { finishedAt: null })).toEqual([]);
    expect(over({ heldUntil: 3_000, isReaped: true }, lost('a', { finishedAt: 4_000 }))).toEqual([]);
    expect(over({ heldUntil: 4_000 }, { status: 'cancelled', finishedAt: 4_000 })).toEqual([]);
  });

  it.each(['succeeded', 'failed'])('sees a run that %s after its lease had run out', (status) => {
    expect(over({ heldUntil: 4_000 }, { status, finishedAt: 4_000 })).toEqual([
      `Run a is ${status} by its holder, 1000 ms after its lease ran out`,
    ]);
  });

  it('sees a lease that was taken away before it had run out', () => {
    expect(over({ heldUntil: 2_500, isReaped: true }, lost('a', { finishedAt: 2_500 }))).toEqual([
      'Lease lease of a was taken from its holder 500 ms before it ran out',
    ]);
  });

  it('sees a holder that is still there when its lease has ended', () => {
    const alive = (at: number): Sign => ({ what: 'alive', holder: 'a', leaseId: 'lease of a', pid: 1, at });
    expect(over({ heldUntil: 3_000 }, {}, [alive(1), alive(2)])).toEqual([]);
    expect(over({ heldUntil: 3_000 }, {}, [alive(1), alive(2.5)])).toEqual([
      'a gave a sign of life 500 ms after its lease lease of a had ended',
    ]);
  });
});

describe(checkSigns.name, () => {
  const sign = (what: Sign['what'], holder: string, pid = 1, leaseId = `lease of ${holder}`): Sign => {
    return { what, holder, leaseId, pid, at: 0 };
  };
  const whole = (holder: string, pid = 1) => [sign('begin', holder, pid), sign('end', holder, pid)];
  const check = (signs: Sign[], runs: RecordedRun[], { capacity = 9, cap = 9, slots = [1, 2, 3] } = {}) =>
    checkSigns(
      signs,
      { runs, leases: runs.map(({ id }, index) => lease(id, index + 1, slots[index])) },
      { capacities: new Map([['berth', capacity]]), caps: new Map([['agent', cap]]) },
    );
  /** The second is there before the first has gone. */
  const overlapping = [sign('begin', 'a'), sign('begin', 'b', 2), sign('end', 'a'), sign('end', 'b', 2)];

  it('is content with lives one after the other, and beside each other where there is room', () => {
    expect(
      check([...whole('a'), ...whole('b', 2)], [run('a'), run('b')], { capacity: 1, cap: 1, slots: [1, 1] }),
    ).toEqual([]);
    expect(check(overlapping, [run('a'), run('b')], { capacity: 2, cap: 2 })).toEqual([]);
  });

  it('is content with a life that was broken off, and a retry after it', () => {
    const signs = [sign('begin', 'a'), sign('alive', 'a'), ...whole('b', 2)];
    expect(check(signs, [lost('a'), run('b', { retryOfRunId: 'a' })], { capacity: 1, slots: [1, 1] })).toEqual([]);
  });

  it('sees a run that was started twice', () => {
    expect(check([...whole('a', 1), ...whole('a', 2)], [run('a')])).toContain(
      'Run a was started 2 times, as processes 1 and 2',
    );
  });

  it('sees a run that still lives when it is tried again', () => {
    const retried = [lost('a'), run('b', { retryOfRunId: 'a' })];
    expect(check(overlapping, retried)).toEqual(
      expect.arrayContaining([expect.stringContaining('The work of run a has 1 permits, held at once by a')]),
    );
  });

  it('sees one that gives a sign of life after its successor began, though it had been silent long before', () => {
    const late = [sign('begin', 'a'), ...whole('b', 2), sign('alive', 'a')];
    expect(check(late, [lost('a'), run('b', { retryOfRunId: 'a' })]).length).toBeGreaterThan(0);
  });

  it('sees more at once than the environment has room for, and than the agent may have', () => {
    const runs = [run('a'), run('b')];
    expect(check(overlapping, runs, { capacity: 1 })).toEqual(
      expect.arrayContaining([expect.stringContaining('berth has 1 permits')]),
    );
    expect(check(overlapping, runs, { cap: 1 })).toEqual(
      expect.arrayContaining([expect.stringContaining('Agent agent has 1 permits')]),
    );
  });

  it('sees a slot that two have, though there is room for both', () => {
    expect(check(overlapping, [run('a'), run('b')], { capacity: 2, slots: [1, 1] })).toEqual([
      expect.stringContaining('berth was given to b'),
    ]);
  });

  it('sees somebody who acts under a lease that is nowhere', () => {
    expect(check(whole('x'), [])).toEqual(['x acted under the lease lease of x, of which nobody knows']);
  });

  it('sees a success whose process never came to its end', () => {
    const violation = 'Run a succeeded by the record, and its process never came to its end';
    expect(check([sign('begin', 'a')], [run('a')])).toEqual([violation]);
    expect(check([], [run('a')])).toEqual([violation]);
  });
});

describe(checkAppends.name, () => {
  const append = (type: Operation['type'], value: string): Operation => ({
    process: 0,
    type,
    f: 'append',
    value,
    time: 0,
  });
  const acknowledged = [append('invoke', 'a'), append('ok', 'a')];

  it('is content with what was acknowledged, and with what nobody knows of either way', () => {
    expect(checkAppends(acknowledged, ['a'])).toEqual([]);
    const unknown = [append('invoke', 'a'), append('info', 'a')];
    expect([...checkAppends(unknown, ['a']), ...checkAppends(unknown, [])]).toEqual([]);
  });

  it('sees what is missing, doubled, unasked for, or there though it was refused', () => {
    expect(checkAppends(acknowledged, [])).toEqual(['a was acknowledged, and is not in the log']);
    expect(checkAppends(acknowledged, ['a', 'a'])).toEqual(['a is in the log 2 times']);
    expect(checkAppends([], ['a'])).toEqual(['a is in the log, and nobody appended it']);
    expect(checkAppends([append('invoke', 'a'), append('fail', 'a')], ['a'])).toEqual([
      'a was refused, and is in the log',
    ]);
  });
});

describe(checkReader.name, () => {
  it('is content with everything once, in whichever order', () => {
    expect(checkReader('r', ['b', 'a'], ['a', 'b'])).toEqual([]);
  });

  it('sees what was left out, given twice, or made up', () => {
    expect(checkReader('r', ['a'], ['a', 'b'])).toEqual(['r was never given b']);
    expect(checkReader('r', ['a', 'a'], ['a'])).toEqual(['r was given a 2 times']);
    expect(checkReader('r', ['a', 'c'], ['a'])).toEqual(['r was given c, which is not in the log']);
  });
});
