import { getSystemErrorName } from 'node:util';
import koffi from 'koffi';

if (process.platform !== 'linux') throw new Error('Programs are started on Linux only');
const library = koffi.load(null);

/** A function of the C library of this process, by its definition in C. */
export const c = (definition: string) => library.func(definition) as (...values: unknown[]) => number;

/** What a call has answered. @throws Error of the system's error, named by it, where that is -1. */
export function succeeded(answer: number): number {
  if (answer === -1) throw new Error(getSystemErrorName(-koffi.errno()));
  return answer;
}
