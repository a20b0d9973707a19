import { Type } from 'class-transformer';
import { IsInt, Max, Min } from 'class-validator';
import { IfGiven } from '../../http/if-given.js';
import type { HeartbeatRun } from '../runs/heartbeat-run.entity.js';
import type { RunEvent } from '../runs/run-story.js';

export class RunEventQueryDto {
  /** Only what came after this `seq`. */
  @IfGiven()
  @Type(() => Number)
  @IsInt()
  @Min(0)
  afterSeq?: number;

  @IfGiven()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(1000)
  limit?: number;
}

export class RunEventResponse {
  id: string;
  runId: string;
  agentId: string;
  companyId: string;
  /** Rises within the run. */
  seq: number;
  eventType: string;
  stream: string | null;
  level: string;
  message: string | null;
  payload: Record<string, unknown> | null;
  createdAt: Date;

  static from({ id: runId, agentId, companyId }: HeartbeatRun, event: RunEvent): RunEventResponse {
    return { ...event, runId, agentId, companyId, stream: null };
  }
}
