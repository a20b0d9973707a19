import { constants } from 'node:fs';
import { access, mkdir, stat } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { Injectable } from '@nestjs/common';
import { BerthConfig } from '../../config/config.js';
import { InvalidInputError, type FieldProblem } from '../../errors/domain-error.js';
import { PlaceUnavailableError } from './driver-errors.js';
import type {
  Command,
  CommandResult,
  DriverCapabilities,
  EnvironmentDriver,
  ProbeResult,
  RealisedPlace,
  RealiseRequest,
} from './environment-driver.port.js';
import { ProcessGuard } from './guard/process-guard.js';
import { runCommand } from './run-command.js';

/** The machine that the runner itself is on. It leaves nothing behind: a directory is given, or the company's own. */
@Injectable()
export class LocalDriver implements EnvironmentDriver {
  readonly capabilities: DriverCapabilities = {
    driver: 'local',
    description: 'Runs on the machine of the Berth server (or runner) itself, in a directory.',
    hasPlaces: false,
    configSchema: {
      type: 'object',
      additionalProperties: false,
      properties: {
        cwd: {
          type: 'string',
          description:
            'Absolute path of the directory in which runs start. It is created if it is missing. Without it each company has a directory of its own under the home of Berth.',
        },
      },
    },
  };

  constructor(
    private readonly config: BerthConfig,
    private readonly guard: ProcessGuard,
  ) {}

  validateConfig(config: unknown): Record<string, unknown> {
    if (typeof config !== 'object' || config === null || Array.isArray(config)) {
      throw invalid([{ field: 'config', message: 'must be an object' }]);
    }
    const problems: FieldProblem[] = Object.keys(config)
      .filter((key) => key !== 'cwd')
      .map((key) => ({ field: `config.${key}`, message: 'is not known to the driver "local"' }));
    const { cwd } = config as { cwd?: unknown };
    if (cwd !== undefined && !isDirectoryPath(cwd)) {
      problems.push({ field: 'config.cwd', message: 'must be the absolute path of a directory' });
    }
    if (problems.length > 0) throw invalid(problems);
    return cwd === undefined ? {} : { cwd };
  }

  planPlace(): null {
    return null;
  }

  async probe(config: Record<string, unknown>): Promise<ProbeResult> {
    const cwd = configuredCwd(config) ?? this.workspacesRoot();
    const [existing, isDirectory] = await nearestExisting(cwd);
    const details = { cwd, exists: existing === cwd, platform: process.platform };
    if (!isDirectory) return { ok: false, summary: `${existing} is not a directory`, details };
    try {
      await access(existing, constants.W_OK | constants.X_OK);
    } catch {
      return { ok: false, summary: `${existing} is not writable for the user that runs Berth`, details };
    }
    const summary = existing === cwd ? `${cwd} exists and is writable` : `${cwd} can be created`;
    return { ok: true, summary, details };
  }

  async realise(request: RealiseRequest, signal: AbortSignal): Promise<RealisedPlace> {
    signal.throwIfAborted();
    const cwd = request.workspaceCwd ?? configuredCwd(request.config) ?? join(this.workspacesRoot(), request.companyId);
    try {
      await mkdir(cwd, { recursive: true });
    } catch (error) {
      throw new PlaceUnavailableError(
        `The directory ${cwd} could not be made ready: ${(error as NodeJS.ErrnoException).message}`,
      );
    }
    return { providerLeaseId: null, cwd };
  }

  execute(place: RealisedPlace, command: Command): Promise<CommandResult> {
    return runCommand(place.cwd, command, this.guard);
  }

  async teardown(): Promise<'absent'> {
    return 'absent';
  }

  private workspacesRoot(): string {
    return join(this.config.home, 'workspaces');
  }
}

const configuredCwd = (config: Record<string, unknown>) => (typeof config.cwd === 'string' ? config.cwd : null);

const isDirectoryPath = (value: unknown) =>
  typeof value === 'string' && value.length <= 4096 && isAbsolute(value) && !value.includes('\0');

const invalid = (problems: FieldProblem[]) =>
  new InvalidInputError('The config does not fit the driver "local"', problems);

/** The path itself or its closest ancestor that is there, and whether that one is a directory. */
async function nearestExisting(path: string): Promise<[string, boolean]> {
  for (let at = path; ; at = dirname(at)) {
    const found = await stat(at).catch(() => null);
    if (found || at === dirname(at)) return [at, found?.isDirectory() ?? false];
  }
}
