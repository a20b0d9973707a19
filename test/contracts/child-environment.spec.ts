import { childEnvironment, type ChildEnvironmentInput } from '../../src/heartbeat/adapters/child-environment.js';

const input: ChildEnvironmentInput = {
  server: { PATH: '/bin', LC_ALL: 'C', DATABASE_URL: 'postgres://secret', BERTH_DATABASE_URL: 'x', NODE_OPTIONS: 'x' },
  environment: { id: 'environment-1', envVars: {} },
  agent: { id: 'agent-1', companyId: 'company-1', adapterConfig: {} },
  runId: 'run-1',
  leaseId: 'lease-1',
  apiUrl: 'http://127.0.0.1:3100',
  apiKey: 'token',
  wake: { reason: 'to test', issueId: null, commentId: null, payload: null },
  workspace: null,
};

describe(childEnvironment.name, () => {
  it('passes on the allow-listed variables of the server and no other', () => {
    expect(childEnvironment(input)).toEqual({
      PATH: '/bin',
      LC_ALL: 'C',
      PAPERCLIP_AGENT_ID: 'agent-1',
      PAPERCLIP_COMPANY_ID: 'company-1',
      PAPERCLIP_RUN_ID: 'run-1',
      PAPERCLIP_API_URL: 'http://127.0.0.1:3100',
      PAPERCLIP_API_KEY: 'token',
      PAPERCLIP_ENVIRONMENT_ID: 'environment-1',
      PAPERCLIP_LEASE_ID: 'lease-1',
      PAPERCLIP_WAKE_REASON: 'to test',
    });
  });

  it('says what the wake was about and where to work, where they apply', () => {
    const wake = { reason: null, issueId: 'issue-1', commentId: 'comment-1', payload: { a: 'é' } };
    expect(childEnvironment({ ...input, wake, workspace: { id: 'workspace-1', cwd: '/w' } })).toMatchObject({
      PAPERCLIP_WAKE_REASON: '',
      PAPERCLIP_TASK_ID: 'issue-1',
      PAPERCLIP_WAKE_COMMENT_ID: 'comment-1',
      PAPERCLIP_WAKE_PAYLOAD_JSON: '{"a":"é"}',
      PAPERCLIP_WORKSPACE_ID: 'workspace-1',
      PAPERCLIP_WORKSPACE_CWD: '/w',
    });
  });

  it("lets the agent's variables replace the environment's, and those the base", () => {
    const made = childEnvironment({
      ...input,
      environment: { id: 'e', envVars: { PATH: '/environment', A: 'environment', B: 'environment' } },
      agent: { ...input.agent, adapterConfig: { env: { B: 'agent', C: { type: 'plain', value: 'agent' } } } },
    });
    expect(made).toMatchObject({ PATH: '/environment', A: 'environment', B: 'agent', C: 'agent' });
  });

  it('lets nobody else say what Berth says, not even where Berth says nothing', () => {
    const forged = { PAPERCLIP_API_KEY: 'mine', PAPERCLIP_TASK_ID: 'mine', PAPERCLIP_FLAVOUR: 'mine' };
    const made = childEnvironment({
      ...input,
      environment: { id: 'e', envVars: forged },
      agent: { ...input.agent, adapterConfig: { env: forged } },
    });
    expect(made).toMatchObject({ PAPERCLIP_API_KEY: 'token', PAPERCLIP_FLAVOUR: 'mine' });
    expect(made).not.toHaveProperty('PAPERCLIP_TASK_ID');
  });

  it('leaves out a payload with which the program could not be started', () => {
    const wake = { ...input.wake, payload: { text: 'x'.repeat(200_000) } };
    expect(childEnvironment({ ...input, wake })).not.toHaveProperty('PAPERCLIP_WAKE_PAYLOAD_JSON');
  });
});
