import { isReused, statOf } from './process-table.js';

describe(isReused.name, () => {
  const { startTime } = statOf(process.pid)!;

  it('tells a process from a later one with its id', () => {
    expect(isReused(process.pid, startTime)).toBe(false);
    expect(isReused(process.pid, String(Number(startTime) - 1))).toBe(true);
  });

  it('trusts an id that no process has', () => {
    expect(isReused(2 ** 30, startTime)).toBe(false);
  });
});
