/** What becomes of a lease's place when the lease ends; see `docs/leases.md`. */
export const LEASE_POLICIES = [
  'ephemeral',
  'reuse_by_environment',
  'reuse_by_execution_workspace',
  'retain_on_failure',
] as const;
export type LeasePolicy = (typeof LEASE_POLICIES)[number];
