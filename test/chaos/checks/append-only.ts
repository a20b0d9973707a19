import type { Operation } from '../history.js';

/** What contradicts that whatever was acknowledged is in the log, once, and that nothing else is. */
export function checkAppends(operations: readonly Operation[], log: readonly string[]): string[] {
  const appends = operations.filter(({ f }) => f === 'append');
  const by = (type: Operation['type']) =>
    appends.filter((one) => one.type === type).map(({ value }) => value as string);
  const counts = countOf(log);
  const [sent, acknowledged, refused] = [new Set(by('invoke')), by('ok'), by('fail')];
  return [
    ...acknowledged
      .filter((value) => !counts.has(value))
      .map((value) => `${value} was acknowledged, and is not in the log`),
    ...refused.filter((value) => counts.has(value)).map((value) => `${value} was refused, and is in the log`),
    ...log.filter((value) => !sent.has(value)).map((value) => `${value} is in the log, and nobody appended it`),
    ...[...counts].filter(([, count]) => count > 1).map(([value, count]) => `${value} is in the log ${count} times`),
  ];
}

/** What contradicts that a reader was given each entry of a log, and each once. */
export function checkReader(reader: string, seen: readonly string[], log: readonly string[]): string[] {
  const counts = countOf(seen);
  const entries = new Set(log);
  return [
    ...log.filter((id) => !counts.has(id)).map((id) => `${reader} was never given ${id}`),
    ...[...counts].filter(([, count]) => count > 1).map(([id, count]) => `${reader} was given ${id} ${count} times`),
    ...[...counts.keys()]
      .filter((id) => !entries.has(id))
      .map((id) => `${reader} was given ${id}, which is not in the log`),
  ];
}

const countOf = (values: readonly string[]): Map<string, number> =>
  new Map([...Map.groupBy(values, (value) => value)].map(([value, all]) => [value, all.length]));
