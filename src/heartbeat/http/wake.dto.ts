import { IsBoolean, IsIn, IsObject, IsOptional, IsString, MaxLength } from 'class-validator';
import { IfGiven } from '../../http/if-given.js';
import { IgnoresClientFields } from '../../http/ignored-fields.js';
import { MaxJsonBytes } from '../../http/max-json-bytes.js';
import {
  INVOCATION_SOURCES,
  TRIGGER_DETAILS,
  type InvocationSource,
  type TriggerDetail,
} from '../runs/heartbeat-run.entity.js';

@IgnoresClientFields('wake')
export class WakeDto {
  /** What wakes the agent. */
  @IfGiven()
  @IsIn(INVOCATION_SOURCES)
  source?: InvocationSource;

  @IfGiven()
  @IsIn(TRIGGER_DETAILS)
  triggerDetail?: TriggerDetail;

  /** Why, in a word or a sentence; the agent's process reads it in `PAPERCLIP_WAKE_REASON`. */
  @IsOptional()
  @IsString()
  @MaxLength(500)
  reason?: string | null;

  /**
   * What the agent is told. `issueId` and `commentId` bind the wake to an issue; wakes without an issue but with the
   * same `taskKey` join one queued run.
   * @example { "issueId": "BER-12" }
   */
  @IsOptional()
  @IsObject()
  @MaxJsonBytes(65_536)
  payload?: Record<string, unknown> | null;

  /** Makes the wake safe to repeat, like the `Idempotency-Key` header. */
  @IsOptional()
  @IsString()
  @MaxLength(200)
  idempotencyKey?: string | null;

  /** Told to the agent: it shall not go on where it stopped. */
  @IfGiven()
  @IsBoolean()
  forceFreshSession?: boolean;
}

/** What became of a wake, beside the run that it became, joined or waits for. */
export class WakeResponse {
  /** The run's id; absent when the wake was skipped. */
  id?: string;
  /** The run's status; `skipped` or `deferred_issue_execution` where the wake became no run. */
  status: string;
  /** Why it was skipped or deferred. */
  reason?: string | null;
  wakeupRequestId: string;
  /** `queued`, `coalesced`, `deferred_issue_execution` or `skipped`. */
  wakeStatus: string;
}
