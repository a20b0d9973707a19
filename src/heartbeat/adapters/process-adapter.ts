import { Injectable } from '@nestjs/common';
import { CommandNotStartedError } from '../../environments/drivers/driver-errors.js';
import { DIRECTORY_PATH, isDirectoryPath, isPathWithin } from '../../environments/directory-path.js';
import type { CommandResult } from '../../environments/drivers/environment-driver.port.js';
import type { Adapter, AdapterContext, AdapterResult, ExecutionLimits } from './adapter.port.js';
import { agentVariableProblems } from './agent-variables.js';
import { ConfigCheck, isObject } from './config-check.js';
import { retryTime } from './retry-time.js';
import { storableJson } from './storable-json.js';

interface ProcessConfig {
  /** An agent may be made before it is told what to run; its runs fail until it is. */
  command?: string;
  args?: string[];
  cwd?: string;
  timeoutSec?: number;
  /** 0 for none. */
  idleTimeoutSec?: number;
  graceSec?: number;
}

const FIELDS = ['command', 'args', 'cwd', 'env', 'timeoutSec', 'idleTimeoutSec', 'graceSec'];
const DEFAULT_TIMEOUT_SEC = 7200;
const DEFAULT_IDLE_TIMEOUT_SEC = 1800;
const DEFAULT_GRACE_SEC = 15;

/** Executes an agent as a program in the leased place. */
@Injectable()
export class ProcessAdapter implements Adapter {
  readonly type = 'process';

  validateConfig(config: Record<string, unknown>): void {
    const check = new ConfigCheck(this.type, config, FIELDS);
    check.text('command');
    const { args, cwd } = config;
    const leadsWhereItSays = isDirectoryPath(cwd) || isPathWithin(cwd);
    check.require(cwd === undefined || leadsWhereItSays, 'cwd', `${DIRECTORY_PATH}, or a path within the place`);
    const fits = Array.isArray(args) && args.every((arg) => typeof arg === 'string' && !arg.includes('\0'));
    check.require(args === undefined || fits, 'args', 'must be a list of strings without NUL characters');
    check.add(agentVariableProblems(config.env));
    check.integer('timeoutSec', 1, 86_400);
    check.integer('idleTimeoutSec', 0, 86_400);
    check.integer('graceSec', 0, 300);
    check.finish();
  }

  limits(config: Record<string, unknown>): ExecutionLimits {
    const { timeoutSec = DEFAULT_TIMEOUT_SEC, idleTimeoutSec = DEFAULT_IDLE_TIMEOUT_SEC } = config as ProcessConfig;
    return { timeoutSec, idleTimeoutSec: idleTimeoutSec === 0 ? null : idleTimeoutSec };
  }

  async execute(context: AdapterContext): Promise<AdapterResult> {
    const config = context.config as ProcessConfig;
    if (!config.command) {
      return notStarted('adapter_failed', "The agent's adapterConfig names no command to run");
    }
    try {
      const ended = await context.execute({
        program: config.command,
        args: config.args ?? [],
        env: context.env,
        cwd: config.cwd ?? null,
        graceMs: (config.graceSec ?? DEFAULT_GRACE_SEC) * 1000,
        signal: context.signal,
      });
      return verdict(ended, lastResult(context.stdoutEnd()));
    } catch (error) {
      if (error instanceof CommandNotStartedError) return notStarted(error.code, error.message);
      throw error;
    }
  }
}

/** What the program says of itself: a result text, and whether it failed for a reason that will pass. */
interface ReportedResult {
  result?: string;
  error_code?: string;
  retry_not_before?: string;
}

/**
 * The program's own report, if its last line on stdout is a JSON object with `"type": "result"`, as agents' command line
 * tools print one.
 */
function lastResult(stdout: string | null): Record<string, unknown> & ReportedResult {
  const line = stdout?.trimEnd().split('\n').at(-1) ?? '';
  const { json } = line.startsWith('{') ? storableJson(line) : {};
  if (!isObject(json) || json.type !== 'result') return {};
  return json;
}

function verdict({ exitCode, signal }: CommandResult, report: ReportedResult): AdapterResult {
  const resultJson = { ...report, exitCode, signal };
  const facts = { exitCode, signal, resultJson, usageJson: null };
  if (exitCode === 0) return { ...facts, outcome: 'succeeded', error: null, errorCode: null };
  const error = signal === null ? `Exited with code ${exitCode}` : `Ended by signal ${signal}`;
  const transient = report.error_code === 'transient_upstream';
  const retryNotBefore = transient ? retryTime(Date.parse(String(report.retry_not_before))) : null;
  return {
    ...facts,
    outcome: 'failed',
    error,
    errorCode: transient ? report.error_code! : 'adapter_failed',
    retryNotBefore,
  };
}

const notStarted = (errorCode: string, error: string): AdapterResult => ({
  outcome: 'failed',
  exitCode: null,
  signal: null,
  error,
  errorCode,
  resultJson: null,
  usageJson: null,
});
