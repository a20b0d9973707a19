import type { DataNames } from '../data-at-size.ts';

/** Rows of a page that a person looks at. */
const PAGE = 50;

/** What is asked for, by what it is called in the tables. */
export function reads(names: DataNames): Record<string, string> {
  const { companyId, agentId, issueId, environmentId, runId, leaseId, middle } = names;
  const list = (what: string, filter = '') => `/companies/${companyId}/${what}?limit=${PAGE}${filter}`;
  const recently = new Date(Date.now() - 3_600_000).toISOString();
  return {
    runs: list('heartbeat-runs'),
    'runs of an agent': list('heartbeat-runs', `&agentId=${agentId}`),
    'runs of an issue': list('heartbeat-runs', `&issueId=${issueId}`),
    'runs that failed': list('heartbeat-runs', '&status=failed'),
    'runs that timed out (none)': list('heartbeat-runs', '&status=timed_out'),
    'runs that run': list('heartbeat-runs', '&status=running'),
    leases: list('environment-leases'),
    'leases of an environment': list('environment-leases', `&environmentId=${environmentId}`),
    'leases that are active': list('environment-leases', '&status=active'),
    'leases that expired': list('environment-leases', '&status=expired'),
    'leases of a run': list('environment-leases', `&runId=${runId}`),
    'leases as of a time': list('environment-leases', `&asOf=${middle}`),
    activity: list('activity'),
    'activity of an agent': list('activity', `&agentId=${agentId}`),
    'activity of a run': list('activity', `&runId=${runId}`),
    'activity of a lease': list('activity', `&entityId=${leaseId}`),
    'activity of an hour': list('activity', `&since=${recently}`),
    'activity until a time': list('activity', `&until=${middle}`),
    'activity of a rare kind': list('activity', '&action=environment.place_retained'),
    issues: list('issues'),
    'a run': `/heartbeat-runs/${runId}`,
    'a lease': `/environment-leases/${leaseId}`,
    'an issue': `/issues/${issueId}`,
  };
}
