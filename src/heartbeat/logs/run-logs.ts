import { Injectable } from '@nestjs/common';
import { BerthConfig } from '../../config/config.js';
import type { Redactor } from '../../redaction/redactor.js';
import { RunLogStore, type LogHolder } from './run-log-store.js';
import { RunLogWriter } from './run-log-writer.js';

/** Opens the logs of runs for writing. */
@Injectable()
export class RunLogs {
  constructor(
    private readonly store: RunLogStore,
    private readonly config: BerthConfig,
  ) {}

  /**
   * A log for one execution, under the lease that it runs by. Close it before the run is finalised, and finalise with the rest.
   * @param redactor takes out what must not be shown.
   * @param ending aborted when the run shall end: its output then waits for the database no more.
   */
  open(holder: LogHolder, redactor: Redactor, ending?: AbortSignal): RunLogWriter {
    return new RunLogWriter(this.store, holder, this.config.runLogMaxBytes, redactor, ending);
  }
}
