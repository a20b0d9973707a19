import { plainToInstance } from 'class-transformer';
import { validateSync, type ValidationError } from 'class-validator';
import path from 'node:path';
import { BerthConfig, localUrl } from './config.js';
import { EnvironmentVariables } from './environment-variables.js';
import { keysIn } from './key-list.js';
import { StartupError } from './startup-error.js';

/**
 * Reads the configuration from a process's environment; an empty variable counts as one that is not set.
 * @param cwd what a relative BERTH_HOME is relative to.
 * @throws StartupError that names every variable with a wrong value, and every one that Berth does not know.
 */
export function loadConfig(environment: NodeJS.ProcessEnv, cwd: string): BerthConfig {
  const given = Object.entries(environment).filter(([name, value]) => name.startsWith('BERTH_') && value?.trim());
  const variables = plainToInstance(EnvironmentVariables, Object.fromEntries(given));
  const problems = validateSync(variables, { whitelist: true, forbidNonWhitelisted: true, stopAtFirstError: true });
  const sentences = problems.map((problem) => sentence(problem, environment[problem.property]));
  if (variables.BERTH_ROLES && !variables.BERTH_ROLES.includes('api') && !variables.BERTH_PUBLIC_URL) {
    sentences.push(
      '  BERTH_PUBLIC_URL must be set where BERTH_ROLES leaves out api: it is where agents’ processes reach the API',
    );
  }
  if (variables.BERTH_BOOTSTRAP_KEY && variables.BERTH_AUTH !== 'authenticated') {
    sentences.push('  BERTH_BOOTSTRAP_KEY is of use only with BERTH_AUTH=authenticated');
  }
  if (variables.BERTH_TRUST_PROXY && variables.BERTH_AUTH !== 'authenticated') {
    sentences.push(
      '  BERTH_TRUST_PROXY is of use only with BERTH_AUTH=authenticated: without it, whoever a proxy lets through would ' +
        'be the operator',
    );
  }
  const { BERTH_SECRETS_KEY: secretsKey, BERTH_SECRETS_KEY_FILE: secretsKeyFile } = variables;
  if (secretsKey && secretsKeyFile) {
    sentences.push('  BERTH_SECRETS_KEY and BERTH_SECRETS_KEY_FILE say the same thing twice: set one of them');
  }
  if (sentences.length > 0) {
    throw new StartupError(`Berth cannot start with these settings:\n${sentences.join('\n')}`);
  }
  const host = variables.BERTH_HOST ?? '127.0.0.1';
  const port = variables.BERTH_PORT ?? 3100;
  return new BerthConfig({
    home: path.resolve(cwd, variables.BERTH_HOME ?? '.berth'),
    databaseUrl: variables.BERTH_DATABASE_URL ?? null,
    restored: variables.BERTH_RESTORED === '1',
    auth: variables.BERTH_AUTH ?? 'local_trusted',
    bootstrapKey: variables.BERTH_BOOTSTRAP_KEY ?? null,
    host,
    port,
    roles: new Set(variables.BERTH_ROLES ?? ['api', 'runner']),
    leaseTtlSec: variables.BERTH_LEASE_TTL_SEC ?? 60,
    leaseMaxLifetimeSec: variables.BERTH_LEASE_MAX_LIFETIME_SEC ?? 86_400,
    runnerSlots: variables.BERTH_RUNNER_SLOTS ?? 8,
    // With an agent's default grace (15 s) it stays below what supervisors allow before they kill (Kubernetes: 30 s).
    drainSec: variables.BERTH_DRAIN_SEC ?? 10,
    runLogMaxBytes: variables.BERTH_RUN_LOG_MAX_BYTES ?? 16 * 1024 * 1024,
    requestsPerKey: variables.BERTH_REQUESTS_PER_KEY ?? 6000,
    requestsPerAddress: variables.BERTH_REQUESTS_PER_ADDRESS ?? 6000,
    streams: variables.BERTH_STREAMS ?? 1000,
    streamsPerCaller: variables.BERTH_STREAMS_PER_CALLER ?? 100,
    clientTimeoutSec: variables.BERTH_CLIENT_TIMEOUT_SEC ?? 60,
    trustedProxies: variables.BERTH_TRUST_PROXY ?? [],
    httpAllow: variables.BERTH_HTTP_ALLOW ?? [],
    retention: {
      activityDays: variables.BERTH_RETAIN_ACTIVITY_DAYS ?? 365,
      runDays: variables.BERTH_RETAIN_RUN_DAYS ?? 90,
      runLogDays: variables.BERTH_RETAIN_RUN_LOG_DAYS ?? 30,
    },
    logLevel: variables.BERTH_LOG_LEVEL ?? 'info',
    publicUrl: variables.BERTH_PUBLIC_URL?.replace(/\/+$/, '') ?? localUrl(host, port),
    secretsKeys: secretsKey ? keysIn(secretsKey) : null,
    secretsKeyFile: secretsKeyFile ? path.resolve(cwd, secretsKeyFile) : null,
  });
}

/** Variables whose values are secrets, or may hold one. */
const SECRET = /(_URL|BOOTSTRAP_KEY|SECRETS_KEY)$/;

/** What is wrong with one variable; a secret is not repeated. */
function sentence({ property, constraints = {} }: ValidationError, given: string | undefined): string {
  if ('whitelistValidation' in constraints) return `  ${property} is not a setting of Berth; check its spelling`;
  const [problem] = Object.values(constraints);
  return `  ${property} ${problem}${SECRET.test(property) ? '' : `; it is "${given}"`}`;
}
