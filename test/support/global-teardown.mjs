export default async () => globalThis.testCluster.stop();
