import { isMet, type Benchmark, type Check, type Findings, type Table } from './benchmark.ts';
import { machine } from './machine.ts';

export interface Result {
  readonly benchmark: Benchmark;
  readonly findings: Findings;
  readonly seconds: number;
  /** Which part of the processor time that was wanted meanwhile went to other machines on the same host. */
  readonly stolen: number;
}

/** What one benchmark found, as Markdown. */
export function markdown({ benchmark, findings, seconds, stolen }: Result): string {
  const { tables, checks, notes = [] } = findings;
  return [
    `## ${benchmark.name}`,
    benchmark.about,
    ...tables.map((table) => `**${table.title}**\n\n${grid(table.columns, table.rows)}`),
    ...(checks.length > 0 ? [grid(['', 'measured', 'bound', ''], checks.map(checkRow))] : []),
    ...notes,
    `(${Math.round(seconds)} s; other machines on this host took ${text(100 * stolen)} % of the processor time that was wanted)`,
  ].join('\n\n');
}

/** What all of them found, to be read by a program. */
export function json(results: readonly Result[]): string {
  const benchmarks = results.map(({ benchmark: { name, about }, findings, seconds, stolen }) => ({
    ...{ name, about, seconds, stolen, ...findings },
    checks: findings.checks.map((check) => ({ ...check, met: isMet(check) })),
  }));
  return JSON.stringify({ machine: machine(), benchmarks }, null, 2);
}

export const missedGates = (results: readonly Result[]): Check[] =>
  results.flatMap(({ findings }) => findings.checks.filter((check) => check.kind === 'gate' && !isMet(check)));

function checkRow(check: Check): Table['rows'][number] {
  const { what, measured, atLeast, atMost, kind } = check;
  const bound = [atLeast !== undefined && `≥ ${atLeast}`, atMost !== undefined && `≤ ${atMost}`].filter(Boolean);
  const verdict = { gate: ['**missed**', 'passed'], goal: ['goal missed', 'goal met'] }[kind][Number(isMet(check))];
  return [what, measured, bound.join(', '), verdict];
}

/** A table whose columns line up for those who read it as it is. */
function grid(columns: Table['columns'], rows: Table['rows']): string {
  const cells = [columns, ...rows].map((row) => row.map(text));
  const widths = columns.map((_, column) => Math.max(3, ...cells.map((row) => row[column].length)));
  const numeric = columns.map((_, column) => rows.some((row) => typeof row[column] === 'number'));
  const line = (row: string[]) =>
    `| ${row.map((cell, column) => (numeric[column] ? cell.padStart(widths[column]) : cell.padEnd(widths[column]))).join(' | ')} |`;
  const ruler = widths.map((width, column) => (numeric[column] ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width)));
  return [line(cells[0]), line(ruler), ...cells.slice(1).map(line)].join('\n');
}

/** Three digits that mean something, whatever the size. */
function text(cell: string | number | null): string {
  if (typeof cell !== 'number') return cell ?? '';
  if (Number.isNaN(cell)) return '';
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(cell) || 1)));
  return String(Number(cell.toFixed(Math.min(digits, 4))));
}
