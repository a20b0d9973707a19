import { modules, reachable } from './tools/modules.mjs';

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
      from: { path: `^src/${name}/` },
      to: { path: '^src/', pathNot: `^src/(${reachable(name).join('|')})/` },
    })),
    {
      name: 'only-the-guard-calls-c',
      severity: 'error',
      from: {
        path: '^src/',
        pathNot: '^src/environments/drivers/guard/(guard-program|start-group|posix-spawn|output-connection|libc)[.]ts$',
      },
      to: { path: 'guard/(posix-spawn|output-connection|libc)|node_modules/koffi' },
    },
    { name: 'no-test-code', severity: 'error', from: { path: '^src/' }, to: { path: '^test/' } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    // Generated, and tests: those may reach for everything.
    exclude: { path: '^src/metadata[.]ts$|[.]spec[.]ts$' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
  },
};
