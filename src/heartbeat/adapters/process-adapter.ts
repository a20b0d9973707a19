import { Injectable } from '@nestjs/common';
import { CommandNotStartedError } from '../../environments/drivers/driver-errors.js';
import type { CommandResult } from '../../environments/drivers/environment-driver.port.js';
import type { Adapter, AdapterContext, AdapterResult } from './adapter.port.js';
import { agentVariableProblems } from './agent-variables.js';
import { ConfigCheck } from './config-check.js';

interface ProcessConfig {
  /** An agent may be made before it is told what to run; its runs fail until it is. */
  command?: string;
  args?: string[];
  cwd?: string;
  timeoutSec?: number;
  graceSec?: number;
}

const FIELDS = ['command', 'args', 'cwd', 'env', 'timeoutSec', 'graceSec'];
const DEFAULT_TIMEOUT_SEC = 7200;
const DEFAULT_GRACE_SEC = 15;

/** Executes an agent as a program in the leased place. */
@Injectable()
export class ProcessAdapter implements Adapter {
  readonly type = 'process';

  validateConfig(config: Record<string, unknown>): void {
    const check = new ConfigCheck(this.type, config, FIELDS);
    check.text('command');
    check.text('cwd');
    const { args } = config;
    const fits = Array.isArray(args) && args.every((arg) => typeof arg === 'string' && !arg.includes('\0'));
    check.require(args === undefined || fits, 'args', 'must be a list of strings without NUL characters');
    check.add(agentVariableProblems(config.env));
    check.integer('timeoutSec', 1, 86_400);
    check.integer('graceSec', 0, 300);
    check.finish();
  }

  async execute(context: AdapterContext): Promise<AdapterResult> {
    const config = context.config as ProcessConfig;
    if (!config.command) {
      return notStarted('adapter_failed', "The agent's adapterConfig names no command to run");
    }
    const timeoutSec = config.timeoutSec ?? DEFAULT_TIMEOUT_SEC;
    const timeout = new AbortController();
    const timer = setTimeout(() => timeout.abort(), timeoutSec * 1000);
    try {
      const ended = await context.execute({
        program: config.command,
        args: config.args ?? [],
        env: context.env,
        cwd: config.cwd ?? null,
        graceMs: (config.graceSec ?? DEFAULT_GRACE_SEC) * 1000,
        signal: AbortSignal.any([context.signal, timeout.signal]),
      });
      return verdict(ended, timeout.signal.aborted ? timeoutSec : null);
    } catch (error) {
      if (error instanceof CommandNotStartedError) return notStarted(error.code, error.message);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }
}

/** @param timedOutAfterSec the limit that ended the program, or null. */
function verdict({ exitCode, signal }: CommandResult, timedOutAfterSec: number | null): AdapterResult {
  const facts = { exitCode, signal, usageJson: null };
  const resultJson = { exitCode, signal, timedOut: timedOutAfterSec !== null };
  if (timedOutAfterSec !== null) {
    const error = `Timed out after ${timedOutAfterSec} seconds`;
    return { ...facts, resultJson, outcome: 'timed_out', error, errorCode: 'timeout' };
  }
  if (exitCode === 0) return { ...facts, resultJson, outcome: 'succeeded', error: null, errorCode: null };
  const error = signal === null ? `Exited with code ${exitCode}` : `Ended by signal ${signal}`;
  return { ...facts, resultJson, outcome: 'failed', error, errorCode: 'adapter_failed' };
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
