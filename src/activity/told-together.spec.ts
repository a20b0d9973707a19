import { leaseOf, writtenAlone, writtenTogether, type Told } from './told-together.js';

const BY = { companyId: 'c', actorType: 'system', actorId: 'runner:1', agentId: 'a', runId: 'r' } as const;
const SAID = { environmentId: 'e', driver: 'local', leasePolicy: 'ephemeral', provider: 'local' };
const LEASE = { ...BY, entityType: 'environment_lease', entityId: 'l' };
const RUN = { ...BY, entityType: 'heartbeat_run', entityId: 'r' };
const ACQUIRED: Told = {
  ...LEASE,
  action: 'environment.lease_acquired',
  details: { ...SAID, executionWorkspaceId: 'w', issueId: 'i', status: 'active' },
};
const STARTED: Told = { ...RUN, action: 'heartbeat.started', details: { leaseId: 'l', host: 'h', issueId: 'i' } };
const SUCCEEDED: Told = { ...RUN, action: 'heartbeat.succeeded', details: { leaseId: 'l', issueId: null } };
const RELEASED: Told = {
  ...LEASE,
  action: 'environment.lease_released',
  details: { ...SAID, executionWorkspaceId: null, issueId: null, status: 'released' },
};
const WRITTEN = { ...BY, leaseId: 'l', environmentId: 'e', driver: 'local', leasePolicy: 'ephemeral' };

describe('what a row tells', () => {
  it('is a start and its lease', () => {
    const both = { action: 'heartbeat.started', executionWorkspaceId: 'w', issueId: 'i', host: 'h' };
    expect(writtenTogether(ACQUIRED, STARTED)).toEqual({ ...WRITTEN, ...both });
  });

  it('is a success and its lease', () => {
    const both = { action: 'heartbeat.succeeded', executionWorkspaceId: null, issueId: null };
    expect(writtenTogether(SUCCEEDED, RELEASED)).toEqual({ ...WRITTEN, ...both });
  });

  const changed = (told: Told, change: Partial<Told>): Told => ({ ...told, ...change });
  const saying = (told: Told, more: object): Told => ({ ...told, details: { ...told.details, ...more } });
  it.each<[string, Told, Told]>([
    ['in the other order', STARTED, ACQUIRED],
    ['of different ends', SUCCEEDED, changed(RELEASED, { action: 'environment.lease_failed' })],
    ['of a start and an end', ACQUIRED, SUCCEEDED],
    ['by another actor', changed(ACQUIRED, { actorId: 'runner:2' }), STARTED],
    ['by another kind of actor', changed(ACQUIRED, { actorType: 'user' }), STARTED],
    ['of another company', changed(ACQUIRED, { companyId: 'd' }), STARTED],
    ['of no agent', changed(ACQUIRED, { agentId: null }), STARTED],
    ['of another run', changed(ACQUIRED, { runId: 's' }), STARTED],
    ['of another lease', changed(ACQUIRED, { entityId: 'm' }), STARTED],
    ['of another issue', saying(ACQUIRED, { issueId: 'j' }), STARTED],
    ['that says more of the run', ACQUIRED, saying(STARTED, { more: 1 })],
    ['that says more of the lease', SUCCEEDED, saying(RELEASED, { reason: 'why' })],
    ['of another provider', saying(ACQUIRED, { provider: 'p' }), STARTED],
    ['of another status', saying(ACQUIRED, { status: 'released' }), STARTED],
  ])('is one alone of two %s', (_what, first, second) => {
    expect(writtenTogether(first, second)).toBeNull();
  });

  it('leaves out what is known: that it is about its run, and what an invocation does not know', () => {
    const details = { source: 'timer', reason: null, issueId: null };
    const invoked = { ...RUN, action: 'heartbeat.invoked', details };
    expect(writtenAlone(invoked)).toEqual({ ...BY, action: 'heartbeat.invoked', details: { source: 'timer' } });
    const failed = { ...RUN, action: 'heartbeat.failed', details };
    expect(writtenAlone(failed)).toEqual({ ...BY, action: 'heartbeat.failed', details });
    const other = changed(failed, { entityId: 's' });
    expect(writtenAlone(other)).toMatchObject({ entityType: 'heartbeat_run', entityId: 's' });
  });

  it('names the lease of what can be told together', () => {
    expect([ACQUIRED, STARTED, SUCCEEDED, RELEASED].map(leaseOf)).toEqual(['l', 'l', 'l', 'l']);
    expect(leaseOf(changed(STARTED, { details: {} }))).toBeNull();
    expect(leaseOf(changed(RELEASED, { action: 'environment.lease_failed' }))).toBeNull();
  });
});
