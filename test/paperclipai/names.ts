import type { Harbour } from './harbour.js';

/** What a line of a table may speak of, as `{name}`. */
export interface Names {
  company: string;
  agent: string;
  spare: string;
  key: string;
  run: string;
  environment: string;
  lease: string;
  workspace: string;
  secret: string;
  issue: string;
  nobody: string;
}

/** Puts one of everything into the company: an agent that has run on an issue, and a run that holds its place. */
export async function furnish({ user, company }: Harbour): Promise<Names> {
  const issue = await user.issue(company);
  const agent = await user.agent(company, 'echo ahoy');
  const spare = await user.agent(company, 'true', { name: 'spare' });
  const { id: run } = await user.wake(agent, { payload: { issueId: issue } });
  await user.ended(run);
  const [lease] = await user.leases(run);
  const holder = await user.wake(await user.agent(company, 'sleep 300', { name: 'watchman' }));
  await user.reached(holder.id, ['running']);
  const made = async (path: string, body: object) => (await user.api.post<{ id: string }>(path, body)).body.id;
  const place = { environmentId: lease.environmentId, name: 'slip', mode: 'exclusive', cwd: '/tmp' };
  return {
    company,
    agent,
    spare,
    key: await made(`/agents/${agent}/keys`, { name: 'kept' }),
    run,
    environment: lease.environmentId,
    lease: lease.id,
    workspace: await made(`/companies/${company}/execution-workspaces`, place),
    secret: await made(`/companies/${company}/secrets`, { name: 'winch', value: 'heave-ho-heave' }),
    issue,
    nobody: '01900000-0000-7000-8000-000000000000',
  };
}

/** The text with what it names put in. */
export const withNames = (text: string, names: Names): string =>
  text.replace(/\{(\w+)\}/g, (all, name: string) => names[name as keyof Names] ?? all);
