/**
 * How often a race is run: as often as is worth it for `npm run test:long`, a third of that in `npm test`, which has to
 * be over soon.
 */
export const rounds = (many: number): number => (process.env.TEST_LONG ? many : Math.ceil(many / 3));
