import { getSystemErrorName } from 'node:util';
import koffi from 'koffi';

if (process.platform !== 'linux') throw new Error('Programs are started on Linux only');
const library = koffi.load(null);

/** A function of the C library of this process, by its definition in C. */
export const c = (definition: string) => library.func(definition) as (...values: unknown[]) => number;

/** The system's error of the call that has just failed. */
export const errno = (): number => koffi.errno();

/** @throws Error that says so, for any other error than 0. */
export function check(error: number, what: string): void {
  if (error !== 0) throw new Error(`${what}: ${getSystemErrorName(-error)}`);
}
