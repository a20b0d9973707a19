import { readFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';

/** Where it was measured, in one line. */
export function machine(): string {
  const gib = Math.round(totalmem() / 2 ** 30);
  return `${cpus().length} cores of ${cpus()[0].model.trim()}, ${gib} GiB, Linux, Node ${process.version.slice(1)}`;
}

/** Processor time of this machine since it started, in ticks. */
interface Ticks {
  readonly used: number;
  /** Wanted, and given to other virtual machines by the host ("steal"). */
  readonly stolen: number;
}

/** @returns which part of the processor time that was wanted since `before` this machine did not get. */
export function stolenSince(before: Ticks): number {
  const now = ticks();
  const stolen = now.stolen - before.stolen;
  return stolen / (now.used - before.used + stolen || 1);
}

/** As `/proc/stat` has it, see proc(5). */
export function ticks(): Ticks {
  const [user, nice, system, , , irq, softIrq, stolen] = readFileSync('/proc/stat', 'utf8')
    .split('\n', 1)[0]
    .split(/\s+/)
    .slice(1)
    .map(Number);
  return { used: user + nice + system + irq + softIrq, stolen };
}
