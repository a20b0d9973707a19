import { mkdtempSync, readFileSync, writeFileSync, appendFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** What somebody wrote about himself while he held a lease: that he has begun, is there, or has done all that he had to. */
export interface Sign {
  readonly what: 'begin' | 'alive' | 'end';
  /** A run's id, or the name of somebody outside. */
  readonly holder: string;
  readonly leaseId: string;
  readonly pid: number;
  /** Seconds of the clock that runs since the machine has started. */
  readonly at: number;
}

/** Seconds since the machine started. */
export const uptime = (): number => Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]);

/** When the machine started, in milliseconds since 1970, to a hundredth of a second. */
export const bootedAt = (): number => Date.now() - uptime() * 1000;

/**
 * The file to which everybody who holds a lease appends signs of life, each with one write. Its order is the order in
 * which that happened, whichever clocks there are: who comes after somebody else's sign came later.
 */
export class SignsOfLife {
  readonly file = path.join(mkdtempSync(path.join(tmpdir(), 'berth-signs-')), 'signs');

  constructor() {
    writeFileSync(this.file, '', { mode: 0o666 });
  }

  /**
   * A program that lives for about so many pauses of 50 ms, giving a sign after each.
   * @param fails whether it fails then, each time in another way: an agent that only ever fails alike is paused.
   */
  program(pauses: number, fails = false): string {
    return [
      `say() { read up idle < /proc/uptime; echo "$1 $PAPERCLIP_RUN_ID $PAPERCLIP_LEASE_ID $$ $up" >> '${this.file}'; }`,
      'say begin',
      ...(pauses > 0 ? [`n=${pauses}; while [ $n -gt 0 ]; do sleep 0.05; say alive; n=$((n - 1)); done`] : []),
      'say end',
      fails ? 'exit $(($$ % 200 + 1))' : 'exit 0',
    ].join('\n');
  }

  /** The sign of a holder in this process. */
  give(what: Sign['what'], holder: string, leaseId: string): void {
    appendFileSync(this.file, `${what} ${holder} ${leaseId} ${process.pid} ${uptime()}\n`);
  }

  read(): Sign[] {
    const lines = readFileSync(this.file, 'utf8').split('\n').slice(0, -1);
    return lines.map((line) => {
      const [what, holder, leaseId, pid, at] = line.split(' ');
      return { what: what as Sign['what'], holder, leaseId, pid: Number(pid), at: Number(at) };
    });
  }
}
