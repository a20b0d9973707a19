import { applyDecorators } from '@nestjs/common';
import { Transform } from 'class-transformer';
import {
  ArrayNotEmpty,
  isFQDN,
  IsIn,
  IsInt,
  IsOptional,
  Max,
  Min,
  Validate,
  ValidatorConstraint,
  type ValidationArguments,
} from 'class-validator';
import { isIP } from 'node:net';
import { isLoopback, type AuthMode } from './config.js';
import { keysIn } from './key-list.js';

/** A whole number in a range, said in one sentence whatever is wrong with it. */
function WholeNumber(min: number, max: number, unit = ''): PropertyDecorator {
  const message = `must be a whole number${unit && ` of ${unit}`} from ${min} to ${max}`;
  return applyDecorators(
    Transform(({ value }) => (/^\d{1,15}$/.test(String(value)) ? Number(value) : Number.NaN)),
    IsInt({ message }),
    Min(min, { message }),
    Max(max, { message }),
  );
}

const AUTH_MODES: readonly AuthMode[] = ['local_trusted', 'authenticated'];
const MAX_DAYS = 36_500;

/** How long something is kept: 0 and `forever` are the same. */
function Days(): PropertyDecorator {
  const message = `must be a whole number of days from 0 to ${MAX_DAYS}, or forever`;
  return applyDecorators(
    Transform(({ value }) => (value === 'forever' ? 0 : /^\d{1,15}$/.test(String(value)) ? Number(value) : Number.NaN)),
    IsInt({ message }),
    Max(MAX_DAYS, { message }),
  );
}

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;

/** Local trusted mode has no credentials: whoever reaches the port is the operator. */
@ValidatorConstraint({ name: 'host' })
class IsHostForMode {
  validate(host: unknown, { object }: ValidationArguments): boolean {
    if (typeof host !== 'string') return false;
    const { BERTH_AUTH } = object as EnvironmentVariables;
    return BERTH_AUTH === 'authenticated' ? isIP(host) !== 0 || isFQDN(host, { require_tld: false }) : isLoopback(host);
  }

  defaultMessage({ object }: ValidationArguments): string {
    if ((object as EnvironmentVariables).BERTH_AUTH === 'authenticated') return 'must be an address of this machine';
    return (
      'must be a loopback address (127.0.0.1, ::1 or localhost), because whoever reaches this server is its operator; ' +
      'leave it out, and let an SSH tunnel to this machine give others access, or set BERTH_AUTH=authenticated, so that ' +
      'every request needs a key'
    );
  }
}

/** Short enough for a header, and long enough that nobody can guess it from its hash. */
const GIVEN_KEY = /^[!-~]{32,512}$/;
/** A key of random letters and digits has more than this many different ones; a phrase that is repeated has not. */
const DIFFERENT_CHARACTERS = 10;

@ValidatorConstraint({ name: 'strongKey' })
class IsStrongKey {
  validate(key: unknown): boolean {
    if (typeof key !== 'string' || !GIVEN_KEY.test(key) || key.startsWith('berth_')) return false;
    return new Set(key).size >= DIFFERENT_CHARACTERS;
  }

  defaultMessage(): string {
    return (
      'must be 32 to 512 letters, digits and signs without spaces, at least 10 of them different, and not begin with ' +
      'berth_; make one with: openssl rand -hex 32'
    );
  }
}

@ValidatorConstraint({ name: 'postgresUrl' })
class IsPostgresUrl {
  validate(value: unknown): boolean {
    const url = URL.canParse(String(value)) ? new URL(String(value)) : null;
    return url !== null && /^postgres(ql)?:$/.test(url.protocol) && url.pathname.length > 1;
  }

  defaultMessage(): string {
    return 'must look like postgres://user:password@host:5432/database';
  }
}

@ValidatorConstraint({ name: 'httpUrl' })
class IsHttpUrl {
  validate(value: unknown): boolean {
    return URL.canParse(String(value)) && /^https?:$/.test(new URL(String(value)).protocol);
  }

  defaultMessage(): string {
    return 'must be an http or https address';
  }
}

@ValidatorConstraint({ name: 'keyList' })
class IsKeyList {
  validate(value: unknown): boolean {
    return keysIn(String(value)) !== null;
  }

  defaultMessage(): string {
    return 'must be 32 random bytes in hexadecimal or base64 (openssl rand -base64 32), or several such keys, the newest first';
  }
}

/** Names separated by commas, as a list. */
const List = (): PropertyDecorator =>
  Transform(({ value }) =>
    String(value)
      .split(',')
      .map((name) => name.trim())
      .filter((name) => name !== ''),
  );

@ValidatorConstraint({ name: 'networks' })
class AreNetworks {
  validate(values: unknown): boolean {
    return Array.isArray(values) && values.every((value) => isNetwork(String(value)));
  }

  defaultMessage(): string {
    return 'must be addresses or networks such as 127.0.0.1 or 10.0.0.0/8, separated by commas';
  }
}

/** An address, or one with the length of its prefix. */
function isNetwork(value: string): boolean {
  const [address = '', prefix, ...more] = value.split('/');
  const bits = { 4: 32, 6: 128 }[isIP(address)];
  if (bits === undefined || more.length > 0) return false;
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits);
}

/** Every variable that Berth reads, as it arrives; the defaults are those of `loadConfig`. */
export class EnvironmentVariables {
  @IsOptional()
  BERTH_HOME?: string;

  @IsOptional()
  @Validate(IsPostgresUrl)
  BERTH_DATABASE_URL?: string;

  @IsOptional()
  @IsIn(['0', '1'], { message: 'must be 1, or left out' })
  BERTH_RESTORED?: '0' | '1';

  @IsOptional()
  @IsIn(AUTH_MODES, { message: `must be one of ${AUTH_MODES.join(', ')}` })
  BERTH_AUTH?: AuthMode;

  @IsOptional()
  @Validate(IsStrongKey)
  BERTH_BOOTSTRAP_KEY?: string;

  @IsOptional()
  @Validate(IsHostForMode)
  BERTH_HOST?: string;

  @IsOptional()
  @WholeNumber(0, 65_535)
  BERTH_PORT?: number;

  @IsOptional()
  @List()
  @ArrayNotEmpty({ message: 'must name api, runner or both, separated by a comma' })
  @IsIn(['api', 'runner'], { each: true, message: 'must name api, runner or both, separated by a comma' })
  BERTH_ROLES?: ('api' | 'runner')[];

  @IsOptional()
  @WholeNumber(2, 86_400, 'seconds')
  BERTH_LEASE_TTL_SEC?: number;

  @IsOptional()
  @WholeNumber(60, 31_536_000, 'seconds')
  BERTH_LEASE_MAX_LIFETIME_SEC?: number;

  @IsOptional()
  @WholeNumber(1, 1000)
  BERTH_RUNNER_SLOTS?: number;

  @IsOptional()
  @WholeNumber(0, 86_400, 'seconds')
  BERTH_DRAIN_SEC?: number;

  @IsOptional()
  @WholeNumber(4096, 1_073_741_824, 'bytes')
  BERTH_RUN_LOG_MAX_BYTES?: number;

  @IsOptional()
  @WholeNumber(0, 1_000_000)
  BERTH_REQUESTS_PER_KEY?: number;

  @IsOptional()
  @WholeNumber(0, 1_000_000)
  BERTH_REQUESTS_PER_ADDRESS?: number;

  @IsOptional()
  @WholeNumber(1, 100_000)
  BERTH_STREAMS?: number;

  @IsOptional()
  @WholeNumber(1, 100_000)
  BERTH_STREAMS_PER_CALLER?: number;

  @IsOptional()
  @WholeNumber(1, 3600, 'seconds')
  BERTH_CLIENT_TIMEOUT_SEC?: number;

  @IsOptional()
  @List()
  @Validate(AreNetworks)
  BERTH_TRUST_PROXY?: string[];

  @IsOptional()
  @List()
  @Validate(AreNetworks)
  BERTH_HTTP_ALLOW?: string[];

  @IsOptional()
  @Days()
  BERTH_RETAIN_ACTIVITY_DAYS?: number;

  @IsOptional()
  @Days()
  BERTH_RETAIN_RUN_DAYS?: number;

  @IsOptional()
  @Days()
  BERTH_RETAIN_RUN_LOG_DAYS?: number;

  @IsOptional()
  @IsIn(LOG_LEVELS, { message: `must be one of ${LOG_LEVELS.join(', ')}` })
  BERTH_LOG_LEVEL?: (typeof LOG_LEVELS)[number];

  @IsOptional()
  @Validate(IsHttpUrl)
  BERTH_PUBLIC_URL?: string;

  @IsOptional()
  @Validate(IsKeyList)
  BERTH_SECRETS_KEY?: string;

  @IsOptional()
  BERTH_SECRETS_KEY_FILE?: string;
}
