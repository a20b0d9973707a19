import { chmod, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createHash, randomBytes } from 'node:crypto';
import path from 'node:path';
import { newId } from '../../src/database/id.js';
import { RunSecrets } from '../../src/heartbeat/secrets/run-secrets.js';
import { openValues } from '../../src/heartbeat/secrets/sealed-values.js';
import { LeaseLostError } from '../../src/leases/lease-errors.js';
import { Keyring } from '../../src/secrets/keyring.js';
import { rotateKey } from '../../src/secrets/rotate-key.js';
import { SecretsController } from '../../src/secrets/secrets.controller.js';
import type { SecretResponse } from '../../src/secrets/secret.dto.js';
import { ApiClient, type Refusal } from '../support/api-client.js';
import { eventually } from '../support/eventually.js';
import { holdTransaction } from '../support/held-transaction.js';
import { Scenario } from '../support/scenario.js';
import { countSent } from '../support/sent-counts.js';
import { outcome, startStillApp, Steps } from '../support/still-app.js';
import { startTestApp, type TestApp } from '../support/test-app.js';

const VALUE = 'correct-horse-battery';
/** Shows what a process was given, in a form that is not taken out. */
const SHOW = `printf %s "$TOKEN" | tr a-z A-Z`;

describe(SecretsController.name, () => {
  let app: TestApp;
  let user: Scenario;
  let companyId: string;

  beforeAll(async () => {
    app = await startTestApp();
    user = new Scenario(app.url);
  });
  afterAll(() => app.close());
  beforeEach(async () => {
    companyId = await user.company();
  });

  const secret = async (fields: object = {}, company = companyId): Promise<SecretResponse> => {
    const body = { name: 'token', value: VALUE, ...fields };
    const answer = await user.api.post<SecretResponse>(`/companies/${company}/secrets`, body);
    expect(answer.status).toBe(201);
    return answer.body;
  };
  const naming = (reference: unknown) => ({ adapterConfig: { env: { TOKEN: reference } } });
  /** What a run of an agent was given as `TOKEN`. */
  const given = async (agentId: string) => {
    const { id } = await user.wake(agentId);
    expect(await user.ended(id)).toMatchObject({ status: 'succeeded' });
    return (await user.log(id)).toLowerCase();
  };

  it('keeps a secret, and never says its value again', async () => {
    const made = await secret({ description: 'for the registry' });
    expect(made).toMatchObject({ name: 'token', latestVersion: 1, provider: 'local_encrypted', lastRotatedAt: null });
    const renamed = await user.api.patch(`/secrets/${made.id}`, { name: 'registry token' });
    const rotated = await user.api.post<SecretResponse>(`/secrets/${made.id}/rotate`, { value: `${VALUE}-2` });
    expect(rotated).toMatchObject({ status: 200, body: { name: 'registry token', latestVersion: 2 } });
    const listed = await user.api.get(`/companies/${companyId}/secrets`);
    expect(listed.body).toEqual([rotated.body]);
    const record = await user.api.get<{ action: string; details: unknown }[]>(
      `/companies/${companyId}/activity?entityType=secret`,
    );
    expect(record.body.map(({ action, details }) => [action, details])).toEqual([
      ['secret.rotated', { name: 'registry token', version: 2 }],
      ['secret.updated', { name: 'registry token', fields: ['name'] }],
      ['secret.created', { name: 'token' }],
    ]);
    expect(JSON.stringify([made, renamed, rotated, listed, record])).not.toContain(VALUE);
  });

  it.each([
    ['too short', { value: ' 12345 ' }, 'value'],
    ['what was taken out of an answer', { value: '[redacted]' }, 'value'],
    ['named like an id', { name: '0198c0de-0000-7000-8000-000000000000' }, 'name'],
    ['kept elsewhere', { provider: 'aws_secrets_manager' }, 'provider'],
  ])('refuses a secret that is %s', async (_what, fields, field) => {
    const body = { name: 'token', value: VALUE, ...fields };
    const refused = await user.api.post<Refusal>(`/companies/${companyId}/secrets`, body);
    expect(refused).toMatchObject({ status: 400, body: { details: [{ field }] } });
  });

  it('has one secret of a name in a company, and repeats a request under its key', async () => {
    const again = user.api.with({ 'idempotency-key': 'once' });
    const body = { name: 'token', value: VALUE };
    const [first, second] = [
      await again.post<SecretResponse>(`/companies/${companyId}/secrets`, body),
      await again.post<SecretResponse>(`/companies/${companyId}/secrets`, body),
    ];
    expect(second.body).toEqual(first.body);
    // By a plain hash a short value could be guessed from a backup.
    const plainHash = createHash('sha256').update(JSON.stringify(body)).digest();
    expect(await app.database.query('select from idempotency_keys where body_hash = $1', [plainHash])).toEqual([]);
    const other = await again.post(`/companies/${companyId}/secrets`, { ...body, value: 'something else' });
    expect(other).toMatchObject({ status: 409, body: { code: 'idempotency_key_reused' } });
    const named = await user.api.post(`/companies/${companyId}/secrets`, body);
    expect(named).toMatchObject({ status: 409, body: { code: 'secret_name_taken' } });
  });

  it('counts new values that come at once one after the other', async () => {
    const { id } = await secret();
    const versions = await Promise.all(
      [1, 2, 3, 4].map((n) => user.api.post<SecretResponse>(`/secrets/${id}/rotate`, { value: `${VALUE}-${n}` })),
    );
    expect(versions.map(({ body }) => body.latestVersion).sort()).toEqual([2, 3, 4, 5]);
  });

  it('is for operators only, and hidden from other companies', async () => {
    const { id } = await secret();
    const key = async (company: string) => {
      const agentId = await user.agent(company, 'true');
      return (await user.api.post<{ token: string }>(`/agents/${agentId}/keys`, { name: 'k' })).body.token;
    };
    const [own, foreign] = [await key(companyId), await key(await user.company())];
    for (const [token, status] of [[own, 403] as const, [foreign, 404] as const]) {
      const agent = user.api.as(token);
      const answers = [
        await agent.get(`/companies/${companyId}/secrets`),
        await agent.post(`/companies/${companyId}/secrets`, { name: 'x', value: VALUE }),
        await agent.patch(`/secrets/${id}`, { name: 'x' }),
        await agent.post(`/secrets/${id}/rotate`, { value: VALUE }),
        await agent.get(`/secrets/${id}/usage`),
        await agent.delete(`/secrets/${id}`),
      ];
      expect(answers.map((answer) => answer.status)).toEqual(answers.map(() => status));
    }
  });

  describe('a reference', () => {
    it.each([
      ['by name', () => ({ secretRef: 'token' })],
      ['by id', ({ id }: SecretResponse) => ({ secretRef: id })],
      ['as Paperclip writes it', ({ id }: SecretResponse) => ({ type: 'secret_ref', secretId: id, version: 'latest' })],
    ])('gives a process the value: %s', async (_how, reference) => {
      const agentId = await user.agent(companyId, SHOW, naming(reference(await secret())));
      expect(await given(agentId)).toBe(VALUE);
    });

    it('gives every process in an environment the value', async () => {
      const { id } = await secret();
      const environments = await user.api.get<{ id: string }[]>(`/companies/${companyId}/environments`);
      const [local] = environments.body;
      const patched = await user.api.patch(`/environments/${local.id}`, { envVars: { TOKEN: { secretRef: 'token' } } });
      expect(patched.body).toMatchObject({ envVars: { TOKEN: { secretRef: id } } });
      expect(await given(await user.agent(companyId, SHOW))).toBe(VALUE);
      const usage = await user.api.get(`/secrets/${id}/usage`);
      const binding = { targetType: 'environment', targetId: local.id, name: 'Local', configPath: 'envVars.TOKEN' };
      expect(usage.body).toEqual({ secretId: id, bindings: [binding] });
    });

    it('holds nothing back of what a process says last, although it could have become the value', async () => {
      await secret({ value: '}\nheave-ho' });
      const say = `printf '{"type":"result","result":"done"}\\n'`;
      const agentId = await user.agent(companyId, say, naming({ secretRef: 'token' }));
      const run = await user.ended((await user.wake(agentId)).id);
      expect(run).toMatchObject({ resultJson: { result: 'done' } });
    });

    it('follows a new value, and a new name, unless it names a version', async () => {
      const { id } = await secret();
      const latest = await user.agent(companyId, SHOW, naming({ secretRef: 'token' }));
      const first = await user.agent(companyId, SHOW, naming({ secretRef: 'token', version: 1 }));
      await user.api.post(`/secrets/${id}/rotate`, { value: 'another-horse' });
      await user.api.patch(`/secrets/${id}`, { name: 'renamed' });
      expect(await given(latest)).toBe('another-horse');
      expect(await given(first)).toBe(VALUE);
    });

    it.each([
      ['unknown', { secretRef: 'nothing' }, 422, 'secret_not_found'],
      ['of another company', { secretRef: 'theirs' }, 422, 'secret_not_found'],
      ['of another case', { secretRef: 'TOKEN' }, 422, 'secret_not_found'],
      ['of a version to come', { secretRef: 'token', version: 2 }, 422, 'secret_not_found'],
      ['without a name', { secretRef: 1 }, 400, 'invalid_input'],
      ['of a user', { type: 'user_secret_ref', key: 'token' }, 400, 'invalid_input'],
    ])('is refused where it is saved: %s', async (_what, reference, status, code) => {
      await secret();
      await secret({ name: 'theirs' }, await user.company());
      const agentId = await user.agent(companyId, 'true');
      const body = { adapterConfig: { env: { TOKEN: reference } } };
      const field = 'adapterConfig.env.TOKEN';
      const refused = { status, body: { code, details: [{ field }] } };
      expect(await user.api.patch(`/agents/${agentId}`, body)).toMatchObject(refused);
      expect(await user.api.post(`/companies/${companyId}/agents`, { name: 'a', ...body })).toMatchObject(refused);
      const environment = { name: 'e', driver: 'local', envVars: { TOKEN: reference } };
      const answer = await user.api.post(`/companies/${companyId}/environments`, environment);
      expect(answer).toMatchObject({ status, body: { code, details: [{ field: 'envVars.TOKEN' }] } });
    });

    it('fails the run where there is nothing behind it any more, before anything is started', async () => {
      const { id } = await secret();
      const agentId = await user.agent(companyId, 'echo started', naming({ secretRef: id }));
      await app.database.query('delete from secret_references where secret_id = $1', [id]);
      await user.api.delete(`/secrets/${id}`);
      const run = await user.wake(agentId);
      const ended = await user.ended(run.id);
      expect(ended).toMatchObject({ status: 'failed', errorCode: 'secret_unresolvable' });
      expect(ended.error).toContain('adapterConfig.env.TOKEN');
      expect(await user.log(run.id)).toBe('');
    });

    it('fails the run where the value was moved there from another secret', async () => {
      const [mine, other] = [await secret(), await secret({ name: 'other', value: 'some-other-value' })];
      const agentId = await user.agent(companyId, 'true', naming({ secretRef: mine.id }));
      await app.database.query(
        `with moved as (delete from secret_versions where secret_id = $2 returning *)
         update secret_versions v set nonce = moved.nonce, ciphertext = moved.ciphertext from moved where v.secret_id = $1`,
        [mine.id, other.id],
      );
      const run = await user.ended((await user.wake(agentId)).id);
      expect(run).toMatchObject({ status: 'failed', errorCode: 'secret_corrupt' });
    });

    it('costs a run one statement to read and one to seal, however many there are', async () => {
      const env = { A: { secretRef: 'token' }, B: { secretRef: 'token' }, C: { secretRef: 'other' } };
      await secret();
      await secret({ name: 'other' });
      const run = async (agentId: string) => user.ended((await user.wake(agentId)).id);
      const texts = async (agentId: string) => {
        const sent = { read: 0, sealed: 0 };
        await countSent(
          () => run(agentId),
          (text) => {
            if (text.includes('secret_versions')) sent.read += 1;
            if (text.startsWith('update') && text.includes('sealed_values')) sent.sealed += 1;
          },
        );
        return sent;
      };
      expect(await texts(await user.agent(companyId, 'true', { adapterConfig: { env } }))).toEqual({
        read: 1,
        sealed: 1,
      });
      expect(await texts(await user.agent(companyId, 'true'))).toEqual({ read: 0, sealed: 0 });
    });
  });

  describe('delete', () => {
    it('says who uses a secret, and removes it when nobody does', async () => {
      const { id } = await secret();
      const agentId = await user.agent(companyId, 'true', naming({ secretRef: 'token' }));
      const use = { targetType: 'agent', targetId: agentId, name: 'deckhand', configPath: 'adapterConfig.env.TOKEN' };
      const refused = await user.api.delete<Refusal>(`/secrets/${id}`);
      expect(refused).toMatchObject({ status: 409, body: { code: 'secret_in_use', details: { uses: [use] } } });
      expect(refused.body.error).toContain('the agent "deckhand"');
      await user.api.patch(`/agents/${agentId}`, { adapterConfig: { env: {} } });
      expect((await user.api.delete(`/secrets/${id}`)).status).toBe(204);
      expect((await user.api.get(`/companies/${companyId}/secrets`)).body).toEqual([]);
      expect((await user.api.delete(`/secrets/${id}`)).status).toBe(404);
      await secret();
      expect(await app.database.query('select from secret_versions where secret_id = $1', [id])).toEqual([]);
    });

    it('waits for who is about to name it', async () => {
      const { id } = await secret();
      const agentId = await user.agent(companyId, 'true');
      const naming = await holdTransaction(
        app.database,
        `insert into secret_references (company_id, secret_id, agent_id, path) values ($1, $2, $3, 'p')`,
        [companyId, id, agentId],
      );
      const deleted = user.api.delete(`/secrets/${id}`);
      await naming.blocksSomebody();
      await naming.commit();
      expect(await deleted).toMatchObject({ status: 409, body: { code: 'secret_in_use' } });
    });

    it('is not held back by agents that never run again', async () => {
      const { id } = await secret();
      const agentId = await user.agent(companyId, 'true', naming({ secretRef: 'token' }));
      await user.api.post(`/agents/${agentId}/terminate`);
      expect((await user.api.delete(`/secrets/${id}`)).status).toBe(204);
    });
  });

  it('shows agents no config of another, and of environments no value', async () => {
    const env = { PLAIN: 'plain-value' };
    const [own, other] = [
      await user.agent(companyId, 'true', { adapterConfig: { env } }),
      await user.agent(companyId, 'true', { adapterConfig: { env }, metadata: { note: 'n', apiKey: 'k' } }),
    ];
    const [local] = (await user.api.get<{ id: string }[]>(`/companies/${companyId}/environments`)).body;
    await user.api.patch(`/environments/${local.id}`, { envVars: env });
    const { token } = (await user.api.post<{ token: string }>(`/agents/${own}/keys`, { name: 'k' })).body;
    const agent = user.api.as(token);
    expect((await agent.get(`/agents/${own}`)).body).toMatchObject({ adapterConfig: { env } });
    const theirs = { adapterConfig: {}, metadata: { note: 'n', apiKey: '[redacted]' } };
    expect((await agent.get(`/agents/${other}`)).body).toMatchObject(theirs);
    expect((await agent.get(`/companies/${companyId}/agents`)).body).toMatchObject([
      theirs,
      { adapterConfig: { env } },
    ]);
    const envVars = { PLAIN: '[redacted]' };
    expect((await agent.get(`/environments/${local.id}`)).body).toMatchObject({ envVars });
    expect((await user.api.get(`/environments/${local.id}`)).body).toMatchObject({ envVars: env });
  });

  describe('the key', () => {
    const keyFile = () => path.join(app.config.home, 'secrets.key');
    const on = (config: Parameters<TestApp['config']['with']>[0]) => startTestApp({ database: app.database, config });

    it('is made when it is first needed, and only its owner can read it', async () => {
      await secret();
      expect((await stat(keyFile())).mode & 0o777).toBe(0o600);
    });

    it('is not used while others can read it', async () => {
      await secret();
      const copy = path.join(app.config.home, 'copied.key');
      await writeFile(copy, await readFile(keyFile()), { mode: 0o600 });
      await chmod(copy, 0o640);
      const other = await on({ roles: new Set(['api']), secretsKeyFile: copy });
      const body = { name: 'x', value: VALUE };
      const refused = await new Scenario(other.url).api.post(`/companies/${companyId}/secrets`, body);
      await other.close();
      expect(refused).toMatchObject({ status: 503, body: { code: 'secrets_key_unusable' } });
    });

    it.each([
      ['none', {}],
      ['another one', { secretsKeys: [randomBytes(32)] }],
    ])('is missed at its first use by a process that has %s, which writes nothing', async (_what, config) => {
      const { id } = await secret();
      const other = await on({ roles: new Set(['api']), ...config });
      const { api } = new Scenario(other.url);
      const answers = [
        await api.post<Refusal>(`/companies/${companyId}/secrets`, { name: 'x', value: VALUE }),
        await api.post<Refusal>(`/secrets/${id}/rotate`, { value: VALUE }),
      ];
      await expect(stat(path.join(other.config.home, 'secrets.key'))).rejects.toMatchObject({ code: 'ENOENT' });
      await other.close();
      for (const answer of answers) {
        expect(answer).toMatchObject({ status: 503, body: { code: 'secrets_key_mismatch' } });
        expect(answer.body.error).toContain('docs/secrets.md');
      }
      expect((await user.api.get(`/companies/${companyId}/secrets`)).body).toMatchObject([{ id, latestVersion: 1 }]);
    });

    it('is replaced by a new one beside a server that runs, page by page, and again after an interruption', async () => {
      const { id } = await secret();
      const agentId = await user.agent(companyId, SHOW, naming({ secretRef: id }));
      const before = await readFile(keyFile(), 'utf8');
      const rotate = () => rotateKey(app.database.url, new Keyring(app.config));
      const first = await rotate();
      // The values that were tampered with above are named, and keep nothing else from it.
      expect(first!.unreadable).toEqual([expect.stringContaining('was changed in the database')]);
      expect(await readFile(keyFile(), 'utf8')).toMatch(new RegExp(`\\n${before.replaceAll('+', '\\+')}$`));
      expect(await given(agentId)).toBe(VALUE);
      const underKeys = () =>
        app.database.query('select distinct key_id from secret_versions where company_id = $1', [companyId]);
      expect(await underKeys()).toEqual([{ key_id: first!.to }]);

      // As if it had been interrupted before this value: nobody takes another key, what is left is done.
      await user.api.post(`/secrets/${id}/rotate`, { value: 'another-horse' });
      await app.database.query(`update secrets_key set key_id = $1`, [first!.from]);
      expect(await rotate()).toMatchObject({ to: first!.from });
      expect(await underKeys()).toEqual([{ key_id: first!.from }]);
      expect(await given(agentId)).toBe('another-horse');
    });

    it('is not taken out of use between the look at it and what is written under it', async () => {
      await secret();
      const rotation = await holdTransaction(app.database, 'update secrets_key set rotated_at = now()');
      let isDone = false;
      const written = secret({ name: 'other' }).then(() => (isDone = true));
      await rotation.blocksSomebody();
      expect(isDone).toBe(false);
      await rotation.commit();
      await written;
    });

    it('is not replaced where the settings have no newer one', async () => {
      await secret();
      const [line] = (await readFile(keyFile(), 'utf8')).split('\n').slice(-2);
      const settings = app.config.with({ secretsKeys: [Buffer.from(line, 'base64')] });
      await expect(rotateKey(app.database.url, new Keyring(settings))).rejects.toThrow(/BERTH_SECRETS_KEY/);
      await rm(path.join(app.config.home, 'copied.key'), { force: true });
    });
  });

  describe('what a run says to a process that does not execute it', () => {
    /** Has no key. */
    let other: TestApp;

    beforeAll(async () => {
      other = await startTestApp({ database: app.database, config: { roles: new Set(['api']) } });
    });
    afterAll(() => other.close());

    /** A run that is told by a file to end, and its own voice. */
    const speaking = async (env: object) => {
      const file = path.join(app.config.home, newId());
      const script = `printf %s "$PAPERCLIP_API_KEY" > ${file}; until [ -e ${file}.end ]; do sleep 0.05; done`;
      const agentId = await user.agent(companyId, script, { adapterConfig: { env } });
      const run = await user.wake(agentId);
      const token = await eventually(
        () => readFile(file, 'utf8').catch(() => ''),
        (written) => written.startsWith('berth_run_'),
      );
      const end = async () => {
        await writeFile(`${file}.end`, '');
        return user.ended(run.id);
      };
      return { agentId, run, token, end };
    };
    /** What becomes of a text that it says there. */
    const said = async (token: string, text: string) => {
      const issueId = await user.issue(companyId);
      const comment = await new ApiClient(other.url)
        .as(token)
        .post<{ body: string }>(`/issues/${issueId}/comments`, { body: text });
      expect(comment.status).toBe(201);
      return comment.body.body;
    };

    it('has none of the values that it was given, whatever became of configs, secrets and the key meanwhile', async () => {
      const { id } = await secret();
      await user.api.post(`/secrets/${id}/rotate`, { value: 'second-horse' });
      const env = {
        PINNED: { secretRef: id, version: 1 },
        NPM_TOKEN: { type: 'secret_ref', secretId: id, version: 'latest' },
        API_PASSWORD: 'plain-password',
      };
      const { agentId, token, end } = await speaking(env);
      await user.api.patch(`/agents/${agentId}`, { adapterConfig: { env: { API_PASSWORD: 'later-password' } } });
      await user.api.post(`/secrets/${id}/rotate`, { value: 'third-horse' });
      await rotateKey(app.database.url, new Keyring(app.config));
      expect(await said(token, `${VALUE} second-horse plain-password ${token}`)).toBe(
        '[redacted] [redacted] [redacted] [redacted]',
      );
      // What the config says, and what it says by now, was never told to the run.
      const harmless = 'latest secret_ref later-password third-horse';
      expect(await said(token, harmless)).toBe(harmless);
      expect(await end()).toMatchObject({ status: 'succeeded' });
    });

    it('is sealed for whoever has its token: nobody else can open it', async () => {
      await secret();
      const { run, token, end } = await speaking({ TOKEN: { secretRef: 'token' } });
      const [{ sealed }] = await app.database.query<{ sealed: Buffer }>(
        'select sealed_values as sealed from heartbeat_runs where id = $1',
        [run.id],
      );
      expect(sealed.toString('latin1')).not.toContain(VALUE);
      expect(openValues(token, sealed)).toEqual([VALUE]);
      expect(() => openValues(`${token}x`, sealed)).toThrow();
      expect(JSON.stringify(await user.run(run.id))).not.toContain(sealed.toString('hex'));
      // What was changed there is not taken for nothing to hide.
      await app.database.query(
        `update heartbeat_runs set sealed_values = '\\x00'::bytea || sealed_values where id = $1`,
        [run.id],
      );
      const issueId = await user.issue(companyId);
      const voice = new ApiClient(other.url).as(token);
      expect((await voice.post(`/issues/${issueId}/comments`, { body: VALUE })).status).toBe(500);
      await end();
      const left = 'select from heartbeat_runs where id = $1 and sealed_values is not null';
      expect(await app.database.query(left, [run.id])).toEqual([]);
    });

    it('is told to nobody where the run was lost before: nothing is started', async () => {
      const still = await startStillApp();
      const operator = new Scenario(still.url);
      const [steps, company] = [new Steps(still), await operator.company()];
      const lost = async (fields: { adapterConfig?: object }) => {
        await operator.wake(await operator.agent(company, 'true', fields));
        const run = await steps.started();
        await steps.end(run, outcome.succeeded());
        return still.get(RunSecrets).reveal(run);
      };
      await expect(lost({ adapterConfig: { env: { API_PASSWORD: 'plain-password' } } })).rejects.toThrow(
        LeaseLostError,
      );
      await expect(lost({})).resolves.toBeDefined();
      await still.close();
    });
  });
});
