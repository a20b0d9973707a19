import { modules, reachable } from './tools/modules.mjs';

const tests = '[.]spec[.]ts$';

export default {
  forbidden: [
    { name: 'no-circle', severity: 'error', from: {}, to: { circular: true } },
    { name: 'no-folder-circle', severity: 'error', scope: 'folder', from: {}, to: { circular: true } },
    {
      name: 'unlisted-module',
      comment: 'A new folder of src needs its line in tools/modules.mjs.',
      severity: 'error',
      from: { path: '^src/[^/]+/', pathNot: `^src/(${Object.keys(modules).join('|')})/` },
      to: {},
    },
    ...Object.keys(modules).map((name) => ({
      name: `${name}-knows-only-lower-modules`,
      severity: 'error',
      from: { path: `^src/${name}/`, pathNot: tests },
      to: { path: '^src/', pathNot: `^src/(${reachable(name).join('|')})/` },
    })),
    { name: 'no-test-code', severity: 'error', from: { path: '^src/', pathNot: tests }, to: { path: '^test/' } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^src/metadata[.]ts$' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
  },
};
