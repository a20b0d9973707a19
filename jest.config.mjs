export default {
  testEnvironment: 'node',
  roots: ['<rootDir>/src', '<rootDir>/test'],
  // A suite of its own, with a client that is installed there: `npm run test:client`.
  modulePathIgnorePatterns: ['<rootDir>/test/paperclipai/'],
  testRegex: '\\.spec\\.ts$',
  extensionsToTreatAsEsm: ['.ts'],
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
  transform: { '^.+\\.ts$': '@swc/jest' },
  globalSetup: '<rootDir>/test/support/global-setup.mjs',
  globalTeardown: '<rootDir>/test/support/global-teardown.mjs',
  // Much of the time is spent waiting: for leases to run out, for servers to come up.
  maxWorkers: 3,
  // Modules of past suites are not let go of: a worker that has grown spends its time collecting garbage.
  workerIdleMemoryLimit: '600MB',
  testTimeout: 60_000,
};
