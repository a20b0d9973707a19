import { Controller, UseInterceptors } from '@nestjs/common';
import { Ctx, MessagePattern } from '@nestjs/microservices';
import { EnvironmentLeaseInterceptor } from './environment-lease.interceptor.js';
import { ExecuteRun } from './execute-run.js';
import { EXECUTE } from './execution.server.js';
import { ExecutionSlot } from './execution-slot.js';
import type { RunOutcome } from '../runs/run-outcome.js';

/** The one handler that executes runs; the interceptor has put a leased run into the slot before it is called. */
@Controller()
export class HeartbeatExecutor {
  constructor(private readonly executeRun: ExecuteRun) {}

  @MessagePattern(EXECUTE)
  @UseInterceptors(EnvironmentLeaseInterceptor)
  execute(@Ctx() slot: ExecutionSlot): Promise<RunOutcome> {
    return this.executeRun.execute(slot);
  }
}
