import { constants } from 'node:fs';
import { access, mkdir, stat } from 'node:fs/promises';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { Injectable } from '@nestjs/common';
import { BerthConfig } from '../../config/config.js';
import { InvalidInputError, type FieldProblem } from '../../errors/domain-error.js';
import { ThisHost } from '../this-host.js';
import type {
  Command,
  CommandResult,
  DriverCapabilities,
  EnvironmentDriver,
  PlacePlan,
  PlaceRequest,
  ProbeResult,
  RealisedPlace,
  RealiseRequest,
} from './environment-driver.port.js';
import { Guards } from './guard/guards.js';
import { directoryIn, makeDirectory, orUnavailable, removeDirectory, type DirectoryFacts } from './place-directory.js';
import { runCommand } from './run-command.js';
import { workingDirectory } from './working-directory.js';
import { DIRECTORY_PATH, isDirectoryPath } from '../directory-path.js';

/** Whose directory runs start in: whoever comes shares one, or each lease has its own. */
const DIRECTORIES: readonly unknown[] = ['shared', 'per_lease'];

/**
 * The machine that the runner itself is on. What it leaves behind is a lease's own directory, if the config asks for
 * one; a directory that is given or the company's own stays.
 */
@Injectable()
export class LocalDriver implements EnvironmentDriver {
  readonly capabilities: DriverCapabilities = {
    driver: 'local',
    description: 'Runs on the machine of the Berth server (or runner) itself, in a directory.',
    hasPlaces: true,
    configSchema: {
      type: 'object',
      additionalProperties: false,
      properties: {
        cwd: {
          type: 'string',
          description:
            'Absolute path of the directory in which runs start. It is created if it is missing. Without it each company has a directory of its own under the home of Berth.',
        },
        directory: {
          type: 'string',
          enum: DIRECTORIES,
          default: 'shared',
          description:
            "With `per_lease` each lease has a directory of its own there, which is removed when the environment's lease policy says so. A run whose issue has an execution workspace starts in that instead.",
        },
      },
    },
  };

  constructor(
    private readonly config: BerthConfig,
    private readonly guards: Guards,
    private readonly host: ThisHost,
  ) {}

  validateConfig(config: unknown): Record<string, unknown> {
    if (typeof config !== 'object' || config === null || Array.isArray(config)) {
      throw invalid([{ field: 'config', message: 'must be an object' }]);
    }
    const problems: FieldProblem[] = Object.keys(config)
      .filter((key) => key !== 'cwd' && key !== 'directory')
      .map((key) => ({ field: `config.${key}`, message: 'is not known to the driver "local"' }));
    const { cwd, directory } = config as { cwd?: unknown; directory?: unknown };
    if (cwd !== undefined && !(isDirectoryPath(cwd) && isAbsolute(cwd))) {
      problems.push({ field: 'config.cwd', message: DIRECTORY_PATH });
    }
    if (directory !== undefined && !DIRECTORIES.includes(directory)) {
      problems.push({ field: 'config.directory', message: `must be one of: ${DIRECTORIES.join(', ')}` });
    }
    if (problems.length > 0) throw invalid(problems);
    return { ...(cwd !== undefined && { cwd }), ...(directory !== undefined && { directory }) };
  }

  planPlace({ placeId, companyId, config }: PlaceRequest): PlacePlan | null {
    if (!isPerLease(config)) return null;
    const root = configuredCwd(config) ?? join(this.placesRoot(), companyId);
    const facts: DirectoryFacts = { placeId, directory: resolve(root, placeId) };
    return { facts: { ...facts }, host: this.host.id };
  }

  async probe(config: Record<string, unknown>): Promise<ProbeResult> {
    const cwd = configuredCwd(config) ?? (isPerLease(config) ? this.placesRoot() : this.workspacesRoot());
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
    const { companyId, config, workspaceCwd, facts } = request;
    const own = facts && directoryIn(facts);
    if (own) await orUnavailable(own, makeDirectory(own));
    if (own && !workspaceCwd) return { providerLeaseId: own, cwd: own };
    const cwd = workspaceCwd ?? configuredCwd(config) ?? join(this.workspacesRoot(), companyId);
    await orUnavailable(cwd, mkdir(cwd, { recursive: true }));
    return { providerLeaseId: own, cwd };
  }

  async execute(place: RealisedPlace, command: Command): Promise<CommandResult> {
    return runCommand(await workingDirectory(place, command.cwd), command, this.guards.next());
  }

  async teardown(facts: Record<string, unknown>, signal: AbortSignal): Promise<'removed' | 'absent'> {
    return removeDirectory(directoryIn(facts), signal);
  }

  private workspacesRoot(): string {
    return join(this.config.home, 'workspaces');
  }

  private placesRoot(): string {
    return join(this.config.home, 'places');
  }
}

const isPerLease = (config: Record<string, unknown>) => config.directory === 'per_lease';

const configuredCwd = (config: Record<string, unknown>) => (typeof config.cwd === 'string' ? config.cwd : null);

const invalid = (problems: FieldProblem[]) =>
  new InvalidInputError('The config does not fit the driver "local"', problems);

/** The path itself or its closest ancestor that is there, and whether that one is a directory. */
async function nearestExisting(path: string): Promise<[string, boolean]> {
  for (let at = path; ; at = dirname(at)) {
    const found = await stat(at).catch(() => null);
    if (found || at === dirname(at)) return [at, found?.isDirectory() ?? false];
  }
}
