import { Type } from 'class-transformer';
import { IsInt, Max, Min } from 'class-validator';
import { IfGiven } from '../../http/if-given.js';
import type { HeartbeatRunEvent } from '../runs/heartbeat-run-event.entity.js';

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

  static from(event: HeartbeatRunEvent): RunEventResponse {
    return {
      id: event.id,
      runId: event.runId,
      agentId: event.agentId,
      companyId: event.companyId,
      seq: event.seq,
      eventType: event.eventType,
      stream: event.stream ?? null,
      level: event.level,
      message: event.message ?? null,
      payload: event.payload ?? null,
      createdAt: event.createdAt,
    };
  }
}
