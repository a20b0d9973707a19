import { randomInt } from 'node:crypto';

/** `npm run test:chaos` goes on for minutes; in `npm test` it is over soon. */
export const IS_LONG = process.env.TEST_CHAOS === '1';
/** For how long things are done to the servers. */
export const SECONDS = Number(process.env.CHAOS_SECONDS ?? (IS_LONG ? 240 : 5));
/** What is done, to what and for how long follows from it, in this order; when it happens among all the rest does not. */
export const SEED = Number(process.env.CHAOS_SEED ?? randomInt(2 ** 31));
/** Where to write what was done from outside, as JSON lines, if anywhere. */
export const HISTORY_FILE = process.env.CHAOS_HISTORY;

export const say = (text: string) => void process.stderr.write(`${text}\n`);
