import project from '../../jest.config.mjs';

/** The suite of its own that tries the published client: see README.md. */
export default {
  ...project,
  rootDir: '../..',
  roots: ['<rootDir>/test/paperclipai', '<rootDir>/test/support'],
  modulePathIgnorePatterns: ['<rootDir>/test/paperclipai/node_modules/'],
  testRegex: '\\.conformance\\.ts$',
  globalSetup: '<rootDir>/test/paperclipai/install-client.mjs',
  globalTeardown: undefined,
  testTimeout: 60_000,
};
