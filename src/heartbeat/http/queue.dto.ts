import { ApiProperty } from '@nestjs/swagger';
import { IsIn, IsUUID } from 'class-validator';
import { IfGiven } from '../../http/if-given.js';
import { PageQueryDto } from '../../http/page-query.dto.js';
import { QUEUE_KINDS, type QueueKind } from '../waiting/queue.service.js';
import { WaitingReasonResponse } from './placement.dto.js';

export class QueueQueryDto extends PageQueryDto {
  @IfGiven()
  @IsIn(QUEUE_KINDS)
  @ApiProperty({ enum: QUEUE_KINDS, required: false })
  kind?: QueueKind;

  @IfGiven()
  @IsUUID()
  companyId?: string;

  @IfGiven()
  @IsUUID()
  agentId?: string;

  /** Only who is known to wait for this environment. */
  @IfGiven()
  @IsUUID()
  environmentId?: string;
}

/** Somebody who waits, and for what. */
export class QueueEntryResponse {
  @ApiProperty({ enum: QUEUE_KINDS })
  kind: QueueKind;
  /** Of the run, of the reservation's request, or of the wakeup request. */
  id: string;
  companyId: string;
  agentId: string | null;
  issueId: string | null;
  /** Where it goes, as far as that is known. */
  environmentId: string | null;
  /** The name of a caller who waits for a reservation. */
  holder: string | null;
  status: string;
  /** From when it could have had its turn. */
  dueAt: string;
  /** How long it has waited since then, in seconds. */
  waitedSec: number;
  waitingReason: WaitingReasonResponse | null;
}
