import './typescript.mjs';

/** One PostgreSQL for the whole run, with a migrated database in it that every suite copies. */
export default async () => {
  const { startTestCluster } = await import('./test-cluster.ts');
  globalThis.testCluster = await startTestCluster();
};
