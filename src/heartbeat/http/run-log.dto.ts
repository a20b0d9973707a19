import { Type } from 'class-transformer';
import { IsInt, Max, Min } from 'class-validator';
import { IfGiven } from '../../http/if-given.js';

export class RunLogQueryDto {
  /** Where to begin, in bytes of all that the run has written. */
  @IfGiven()
  @Type(() => Number)
  @IsInt()
  @Min(0)
  @Max(Number.MAX_SAFE_INTEGER)
  offset?: number;

  /** About how much to answer; whole lines, at least one. */
  @IfGiven()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(1_048_576)
  limitBytes?: number;
}

export class RunLogResponse {
  runId: string;
  /** Where the log is kept. */
  store: string;
  logRef: string;
  /** One JSON object a line: `{ ts, stream: stdout|stderr|system, chunk }`. */
  content: string;
  /** Where to go on. */
  nextOffset: number;
}
