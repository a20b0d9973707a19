import { FIRST_KEY, Harbour } from './harbour.js';
import { CLIENT, hermetic, type PaperclipClient } from './paperclip-client.js';

describe('the client of an operator', () => {
  let harbour: Harbour;

  beforeAll(async () => {
    harbour = await Harbour.open({ BERTH_AUTH: 'authenticated', BERTH_BOOTSTRAP_KEY: FIRST_KEY });
  });
  afterAll(() => harbour.close());

  it('is refused without a key', async () => {
    const said = await harbour.client.as('').run('company list');
    expect(said).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/API error 401/) });
  });

  it('knows who it is', async () => {
    expect(await harbour.client.json('whoami')).toMatchObject({ user: { name: 'bootstrap' }, agentId: null });
  });

  it('makes, lists, uses and revokes keys of operators', async () => {
    const made = await harbour.client.json<{ key: { id: string; token: string } }>('token board create --name pilot');
    const { id, token } = made.key;
    const pilot = harbour.client.as(token);
    expect(await pilot.json('company list')).toMatchObject([{ id: harbour.company }]);
    expect(await pilot.json('token board list')).toContainEqual(
      expect.objectContaining({ id, name: 'pilot', revokedAt: null }),
    );
    expect((await harbour.client.run(`token board revoke ${id}`)).exitCode).toBe(0);
    expect(await pilot.run('company list')).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(/API error 401/),
    });
  });
});

describe('the client of an agent', () => {
  let harbour: Harbour;
  let agentId: string;
  let asAgent: PaperclipClient;

  beforeAll(async () => {
    harbour = await Harbour.open();
    agentId = await harbour.user.agent(harbour.company, 'true');
    asAgent = harbour.client.as(await harbour.keyOf(agentId));
  });
  afterAll(() => harbour.close());

  it('knows who it is', async () => {
    const { company } = harbour;
    expect(await asAgent.json('agent me')).toMatchObject({ id: agentId, companyId: company, name: 'deckhand' });
    expect(await asAgent.json('whoami')).toMatchObject({ user: null, agentId, companyIds: [company] });
    expect(await asAgent.json('company current')).toMatchObject({ id: company });
    expect(await asAgent.json('company list')).toMatchObject([{ id: company }]);
  });

  it('wakes itself by its id and by its name', async () => {
    expect(await asAgent.json(`agent wake ${agentId}`)).toMatchObject({ agentId, status: 'queued' });
    expect(await asAgent.json('agent wake deckhand')).toMatchObject({ agentId, status: 'queued' });
  });

  it('speaks on an issue under its own name', async () => {
    const issueId = await harbour.user.issue(harbour.company);
    const comment = await asAgent.json(`issue comment ${issueId} --body 'aye aye' --resume`);
    expect(comment).toMatchObject({ authorType: 'agent', authorAgentId: agentId, body: 'aye aye' });
    const [entry] = await asAgent.json<object[]>(`activity issue ${issueId}`);
    expect(entry).toMatchObject({ action: 'issue.comment_added', actorType: 'agent', actorId: agentId });
  });

  it('prompts itself, with a new issue and on one that is there', async () => {
    const asked = await asAgent.json<{ issue: { id: string } }>(`agent prompt 'scrub the deck'`);
    expect(asked).toMatchObject({
      issue: { title: 'scrub the deck', assigneeAgentId: agentId },
      // The assignment wakes it too: this one may find the issue's run queued, running or ended.
      wakeup: { id: expect.any(String) },
    });
    expect(await asAgent.json(`agent prompt 'and the mast' --issue ${asked.issue.id} --no-wake`)).toMatchObject({
      comment: { body: 'and the mast', authorAgentId: agentId },
      wakeup: null,
    });
  });

  it.each([
    ['company create --payload-json {"name":"Mine"}', /board\/instance-admin authentication/],
    ['agent create -C {company} --payload-json {"name":"mate"}', /API error 403: Board access required/],
    ['agent pause {agent}', /API error 403: Board access required/],
    ['environment create -C {company} --payload-json {"name":"e","driver":"local"}', /API error 403/],
    ['agent list -C 01900000-0000-7000-8000-000000000000', /API error 404: Company not found/],
    ['agent me --run-id 01900000-0000-7000-8000-000000000000', /API error 403: X-Paperclip-Run-Id/],
  ])('is refused %s', async (command, reason) => {
    const said = await asAgent.run(command.replace('{company}', harbour.company).replace('{agent}', agentId));
    expect(said.stderr + said.stdout).toMatch(reason);
    expect(said.exitCode).toBe(1);
  });

  it('is refused with a key that is revoked', async () => {
    const key = await harbour.client.json<{ key: { id: string; token: string } }>(
      `token agent create -C ${harbour.company} --agent ${agentId} --name lost`,
    );
    const revoke = `token agent revoke ${key.key.id} -C ${harbour.company} --agent ${agentId}`;
    expect((await harbour.client.run(revoke)).exitCode).toBe(0);
    const said = await harbour.client.as(key.key.token).run('agent me');
    expect(said).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/API error 401/) });
  });

  it('acts for its run from inside the process, with what the process finds in its environment', async () => {
    const issueId = await harbour.user.issue(harbour.company);
    const paperclip = `"${process.execPath}" "${CLIENT}"`;
    const script = `${paperclip} agent me --json && ${paperclip} issue comment "$PAPERCLIP_TASK_ID" --body 'from inside'`;
    const { PATH: _path, HOME: _home, ...env } = hermetic(harbour.client.home);
    const inside = await harbour.user.agent(harbour.company, script, { adapterConfig: { env } });
    const { id } = await harbour.user.wake(inside, { payload: { issueId } });
    const run = await harbour.user.ended(id, 30_000);
    expect({ status: run.status, log: await harbour.user.log(id) }).toMatchObject({ status: 'succeeded' });
    expect(await harbour.client.json(`issue comments ${issueId}`)).toMatchObject([
      { authorAgentId: inside, createdByRunId: id, body: 'from inside' },
    ]);
    const record = await harbour.client.json<object[]>(`activity issue ${issueId}`);
    const said = { action: 'issue.comment_added', actorType: 'agent', actorId: inside, runId: id };
    expect(record).toContainEqual(expect.objectContaining(said));
  });
});
