import { loadConfig } from './load-config.js';

const load = (environment: NodeJS.ProcessEnv) => loadConfig(environment, '/srv/berth');

describe(loadConfig.name, () => {
  it('needs no settings', () => {
    expect(load({ PATH: '/bin' })).toMatchObject({
      home: '/srv/berth/.berth',
      databaseUrl: null,
      restored: false,
      host: '127.0.0.1',
      port: 3100,
      roles: new Set(['api', 'runner']),
      leaseTtlSec: 60,
      runnerSlots: 8,
      drainSec: 10,
      runLogMaxBytes: 16 * 1024 * 1024,
      retention: { activityDays: 365, runDays: 90, runLogDays: 30 },
      logLevel: 'info',
      publicUrl: 'http://127.0.0.1:3100',
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
