import { loadConfig } from './load-config.js';

const KEY = '0f1e2d3c4b5a69788796a5b4c3d2e1f0';
const load = (environment: NodeJS.ProcessEnv) => loadConfig(environment, '/srv/berth');

describe(loadConfig.name, () => {
  it('needs no settings', () => {
    expect(load({ PATH: '/bin' })).toMatchObject({
      home: '/srv/berth/.berth',
      databaseUrl: null,
      restored: false,
      auth: 'local_trusted',
      bootstrapKey: null,
      host: '127.0.0.1',
      port: 3100,
      roles: new Set(['api', 'runner']),
      leaseTtlSec: 60,
      runnerSlots: 8,
      drainSec: 10,
      runLogMaxBytes: 16 * 1024 * 1024,
      requestsPerKey: 6000,
      requestsPerAddress: 6000,
      streams: 1000,
      streamsPerCaller: 100,
      clientTimeoutSec: 60,
      trustedProxies: [],
      httpAllow: [],
      retention: { activityDays: 365, runDays: 90, runLogDays: 30 },
      logLevel: 'info',
      publicUrl: 'http://127.0.0.1:3100',
      secretsKeys: null,
      secretsKeyFile: null,
    });
  });

  it('takes every setting', () => {
    const config = load({
      BERTH_HOME: 'data',
      BERTH_DATABASE_URL: 'postgres://berth@db.example/berth',
      BERTH_RESTORED: '1',
      BERTH_HOST: '::1',
      BERTH_PORT: '0',
      BERTH_ROLES: 'runner, runner',
      BERTH_LEASE_TTL_SEC: '2',
      BERTH_RUNNER_SLOTS: '1',
      BERTH_DRAIN_SEC: '0',
      BERTH_RUN_LOG_MAX_BYTES: '4096',
      BERTH_REQUESTS_PER_KEY: '0',
      BERTH_REQUESTS_PER_ADDRESS: '1',
      BERTH_STREAMS: '2',
      BERTH_STREAMS_PER_CALLER: '3',
      BERTH_CLIENT_TIMEOUT_SEC: '4',
      BERTH_AUTH: 'authenticated',
      BERTH_TRUST_PROXY: '127.0.0.1, ::1',
      BERTH_HTTP_ALLOW: '127.0.0.0/8,fe80::/10',
      BERTH_RETAIN_ACTIVITY_DAYS: 'forever',
      BERTH_RETAIN_RUN_DAYS: '0',
      BERTH_RETAIN_RUN_LOG_DAYS: '7',
      BERTH_LOG_LEVEL: 'silent',
      BERTH_PUBLIC_URL: 'https://berth.example/',
    });
    expect(config).toMatchObject({
      home: '/srv/berth/data',
      databaseUrl: 'postgres://berth@db.example/berth',
      restored: true,
      host: '::1',
      port: 0,
      roles: new Set(['runner']),
      leaseTtlSec: 2,
      runnerSlots: 1,
      drainSec: 0,
      runLogMaxBytes: 4096,
      requestsPerKey: 0,
      requestsPerAddress: 1,
      streams: 2,
      streamsPerCaller: 3,
      clientTimeoutSec: 4,
      auth: 'authenticated',
      trustedProxies: ['127.0.0.1', '::1'],
      httpAllow: ['127.0.0.0/8', 'fe80::/10'],
      retention: { activityDays: 0, runDays: 0, runLogDays: 7 },
      logLevel: 'silent',
      publicUrl: 'https://berth.example',
    });
  });

  it('takes an empty variable for one that is not set', () => {
    expect(load({ BERTH_PORT: '', BERTH_DATABASE_URL: ' ' })).toMatchObject({ port: 3100, databaseUrl: null });
  });

  it('takes in which port it got', () => {
    const config = load({ BERTH_HOST: '::1', BERTH_PORT: '0' });
    config.listensOn(4711);
    expect(config).toMatchObject({ port: 4711, publicUrl: 'http://[::1]:4711' });
  });

  it.each([
    ['BERTH_PORT', '70000', 'must be a whole number from 0 to 65535; it is "70000"'],
    ['BERTH_PORT', '31OO', 'must be a whole number from 0 to 65535; it is "31OO"'],
    ['BERTH_PORT', '-1', 'must be a whole number from 0 to 65535; it is "-1"'],
    ['BERTH_ROLES', 'api,cook', 'must name api, runner or both, separated by a comma; it is "api,cook"'],
    ['BERTH_ROLES', ',', 'must name api, runner or both, separated by a comma; it is ","'],
    ['BERTH_LEASE_TTL_SEC', '1', 'must be a whole number of seconds from 2 to 86400; it is "1"'],
    ['BERTH_LEASE_TTL_SEC', '90000', 'must be a whole number of seconds from 2 to 86400; it is "90000"'],
    ['BERTH_RUNNER_SLOTS', '0', 'must be a whole number from 1 to 1000; it is "0"'],
    ['BERTH_DRAIN_SEC', '100000', 'must be a whole number of seconds from 0 to 86400; it is "100000"'],
    ['BERTH_RUN_LOG_MAX_BYTES', '16M', 'must be a whole number of bytes from 4096 to 1073741824; it is "16M"'],
    ['BERTH_RESTORED', 'yes', 'must be 1, or left out; it is "yes"'],
    ['BERTH_LOG_LEVEL', 'loud', 'must be one of fatal, error, warn, info, debug, trace, silent; it is "loud"'],
    ['BERTH_DATABASE_URL', 'mysql://user:secret@host/db', 'must look like postgres://user:password@host:5432/database'],
    ['BERTH_DATABASE_URL', 'postgres://host', 'must look like postgres://user:password@host:5432/database'],
    ['BERTH_PUBLIC_URL', 'berth.example', 'must be an http or https address'],
    ['BERTH_AUTH', 'none', 'must be one of local_trusted, authenticated; it is "none"'],
    ['BERTH_BOOTSTRAP_KEY', KEY, 'is of use only with BERTH_AUTH=authenticated'],
    ['BERTH_TRUST_PROXY', '127.0.0.1', 'is of use only with BERTH_AUTH=authenticated: without it, whoever a proxy .*'],
    ['BERTH_REQUESTS_PER_KEY', '-1', 'must be a whole number from 0 to 1000000; it is "-1"'],
    ['BERTH_CLIENT_TIMEOUT_SEC', '0', 'must be a whole number of seconds from 1 to 3600; it is "0"'],
    ...['localhost', '127.0.0.1/33', '127.0.0.0/', '::1/129', '10.0.0.0/8/8'].map((value) => [
      'BERTH_HTTP_ALLOW',
      value,
      `must be addresses or networks such as 127.0.0.1 or 10.0.0.0/8, separated by commas; it is "${value}"`,
    ]),
    ['BERTH_PROT', '3100', 'is not a setting of Berth; check its spelling'],
  ])('refuses %s=%s', (name, value, sentence) => {
    expect(() => load({ [name]: value })).toThrow(new RegExp(`^  ${name} ${sentence}$`, 'm'));
  });

  it.each(['0.0.0.0', '192.168.1.10', '::', 'berth.example', '127.0.0.1.example'])(
    'refuses to listen on %s',
    (host) => {
      expect(() => load({ BERTH_HOST: host })).toThrow(/BERTH_HOST must be a loopback address .*; leave it out, and/);
    },
  );

  it.each(['0.0.0.0', '192.168.1.10', '::', 'berth.example', 'localhost'])(
    'listens on %s where every request needs a key',
    (host) => {
      const config = load({ BERTH_HOST: host, BERTH_AUTH: 'authenticated', BERTH_BOOTSTRAP_KEY: KEY });
      expect(config).toMatchObject({ host, auth: 'authenticated', bootstrapKey: KEY });
    },
  );

  it('sends agents to this machine where it listens on every address', () => {
    const all = (host: string) => load({ BERTH_HOST: host, BERTH_AUTH: 'authenticated' }).publicUrl;
    expect([all('0.0.0.0'), all('::')]).toEqual(['http://127.0.0.1:3100', 'http://[::1]:3100']);
  });

  it.each([
    ['short', KEY.slice(1)],
    ['with a space', `${KEY} ${KEY}`],
    ['repeated', 'abcabcabcabcabcabcabcabcabcabcabcabc'],
    ['that looks like one of ours', `berth_${KEY}`],
  ])('refuses a first key that is %s, and does not repeat it', (_what, key) => {
    const refuse = () => load({ BERTH_AUTH: 'authenticated', BERTH_BOOTSTRAP_KEY: key });
    expect(refuse).toThrow(/^  BERTH_BOOTSTRAP_KEY must be 32 to 512 letters.*openssl rand -hex 32$/m);
    expect(refuse).not.toThrow(key);
  });

  it('takes keys in both notations, the newest first, or a file of them', () => {
    const [a, b] = [Buffer.alloc(32, 'a'), Buffer.alloc(32, 'b')];
    const { secretsKeys } = load({ BERTH_SECRETS_KEY: `${a.toString('base64')}, ${b.toString('hex')}` });
    expect(secretsKeys).toEqual([a, b]);
    expect(load({ BERTH_SECRETS_KEY_FILE: 'k' })).toMatchObject({ secretsKeys: null, secretsKeyFile: '/srv/berth/k' });
    const both = { BERTH_SECRETS_KEY: a.toString('hex'), BERTH_SECRETS_KEY_FILE: 'k' };
    expect(() => load(both)).toThrow('set one of them');
  });

  it.each(['c2VjcmV0', `${'ab'.repeat(32)},secret`, `${'ab'.repeat(31)}`])(
    'repeats no key that is none: %s',
    (wrong) => {
      expect(() => load({ BERTH_SECRETS_KEY: wrong })).toThrow(/^ {2}BERTH_SECRETS_KEY must be 32 random bytes/m);
      expect(() => load({ BERTH_SECRETS_KEY: wrong })).not.toThrow(wrong);
    },
  );

  it('asks a process without the role api where the API is', () => {
    expect(() => load({ BERTH_ROLES: 'runner' })).toThrow('BERTH_PUBLIC_URL must be set');
    expect(load({ BERTH_ROLES: 'runner', BERTH_PUBLIC_URL: 'http://127.0.0.1:3100/' }).publicUrl).toBe(
      'http://127.0.0.1:3100',
    );
  });

  it('names every wrong value at once', () => {
    const wrong = { BERTH_PORT: 'x', BERTH_ROLES: 'x', BERTH_LOG_LEVEL: 'x', BERTH_X: 'x' };
    for (const name of Object.keys(wrong)) expect(() => load(wrong)).toThrow(name);
  });
});
