const MAX_LENGTH = 4096;
/** From a root, of whichever system. */
const ROOTED = /^(\/|[A-Za-z]:[\\/])/;

/** What a path has to be that names a directory by itself, wherever it is read. */
export const DIRECTORY_PATH = 'must be the absolute path of a directory, without the steps "." and ".."';

/** A path that says itself where it leads: steps up and on the spot make one place look like another. */
export const isDirectoryPath = (value: unknown): value is string =>
  isPath(value) && ROOTED.test(value) && !stepsOf(value).some((step) => step === '.' || step === '..');

/** A path from a directory on that leads to nothing outside it, links aside. */
export const isPathWithin = (value: unknown): value is string =>
  isPath(value) && !ROOTED.test(value) && !stepsOf(value).includes('..');

const isPath = (value: unknown): value is string =>
  typeof value === 'string' && value.length > 0 && value.length <= MAX_LENGTH && !value.includes('\0');

const stepsOf = (path: string) => path.split(/[\\/]/);
