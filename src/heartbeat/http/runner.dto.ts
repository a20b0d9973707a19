import { ApiProperty } from '@nestjs/swagger';
import { IsIn } from 'class-validator';
import { IfGiven } from '../../http/if-given.js';
import { PageQueryDto } from '../../http/page-query.dto.js';
import { RUNNER_STATES, type RunnerRecord, type RunnerState } from '../runs/runners.service.js';

export class RunnerQueryDto extends PageQueryDto {
  /** Only runners in this state. */
  @IfGiven()
  @IsIn(RUNNER_STATES)
  @ApiProperty({ enum: RUNNER_STATES, required: false })
  state?: RunnerState;
}

/** One start of a process that executes runs. */
export class RunnerResponse implements RunnerRecord {
  /** New at every start; what runs and leases name as their `runnerId`. */
  id: string;
  /**
   * The host's id, which stays the same; what leases name as their `host`.
   * @example 'build-box-1f9c02ab'
   */
  host: string;
  /** What the host calls itself. */
  hostName: string;
  pid: number;
  /** How many runs it executes at once. */
  slots: number;
  /** How many runs it holds leases for now. */
  running: number;
  /**
   * `draining`: it was asked to stop and claims nothing new. `lost`: it has not been heard of for 15 seconds without
   * having stopped; it was killed, is frozen, or cannot reach the database.
   */
  @ApiProperty({ enum: RUNNER_STATES })
  state: RunnerState;
  /** Version of Berth. */
  version: string;
  startedAt: Date;
  lastSeenAt: Date;
  drainingSince: Date | null;
  stoppedAt: Date | null;
}
