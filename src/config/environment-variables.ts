import { applyDecorators } from '@nestjs/common';
import { Transform } from 'class-transformer';
import { ArrayNotEmpty, IsIn, IsInt, IsOptional, Max, Min, Validate, ValidatorConstraint } from 'class-validator';
import { isIP } from 'node:net';

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
@ValidatorConstraint({ name: 'loopback' })
class IsLoopback {
  validate(host: unknown): boolean {
    if (typeof host !== 'string') return false;
    return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
  }

  defaultMessage(): string {
    return (
      'must be a loopback address (127.0.0.1, ::1 or localhost), because whoever reaches this server is its operator; ' +
      'leave it out, and let an authenticating proxy or an SSH tunnel on this machine give others access'
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
  @Validate(IsLoopback)
  BERTH_HOST?: string;

  @IsOptional()
  @WholeNumber(0, 65_535)
  BERTH_PORT?: number;

  @IsOptional()
  @Transform(({ value }) =>
    String(value)
      .split(',')
      .map((role) => role.trim())
      .filter((role) => role !== ''),
  )
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
}
