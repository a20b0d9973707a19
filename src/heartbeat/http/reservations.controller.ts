import { Body, Controller, Param, Post, Res } from '@nestjs/common';
import {
  ApiConflictResponse,
  ApiCreatedResponse,
  ApiForbiddenResponse,
  ApiTags,
  ApiUnprocessableEntityResponse,
} from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { Access } from '../../auth/access.decorator.js';
import { assertCompanyAccess, assertOperator } from '../../auth/access.js';
import { RunMismatchError } from '../../auth/auth-errors.js';
import { Callers } from '../../auth/callers.js';
import { BerthConfig } from '../../config/config.js';
import { InvalidInputError } from '../../errors/domain-error.js';
import { currentActor } from '../../events/request-scope.js';
import { IdPipe } from '../../http/id.pipe.js';
import { IdempotencyKeys } from '../../http/idempotency-keys.js';
import type { IdempotentRequest } from '../../http/idempotent-request.js';
import { IdempotentOnceDone, RepeatOf } from '../../http/idempotent.decorator.js';
import { LeaseResponse } from '../../leases/lease.dto.js';
import type { LeaseWish } from '../reserving/lease-wish.js';
import { ReservationsService } from '../reserving/reservations.service.js';
import { AcquireLeaseDto } from './reservation.dto.js';

@ApiTags('Leases')
@Controller('companies/:companyId/environment-leases')
export class ReservationsController {
  constructor(
    private readonly reservations: ReservationsService,
    private readonly keys: IdempotencyKeys,
    private readonly callers: Callers,
    private readonly config: BerthConfig,
  ) {}

  /**
   * Reserves a place for a holder outside, or a further one for a running run: in the same queue, capacity and fencing as
   * the runs. The holder renews it before it expires, shows its `fencingToken` with everything that it does, and stops
   * when that is answered by 410. Whoever waits has its turn after all who waited before, and loses it by hanging up, or
   * with its credential (401).
   * Asked again with the same `Idempotency-Key`, a caller that missed the answer is answered the same lease.
   */
  @Post()
  @Access('members:write')
  @IdempotentOnceDone()
  @ApiCreatedResponse({ type: LeaseResponse })
  @ApiForbiddenResponse({ description: '`operator_only`, `run_mismatch`: a run acts for itself alone' })
  @ApiConflictResponse({
    description:
      '`environment_at_capacity`, `environment_draining`, `workspace_occupied`: it did not come free in time; `details` ' +
      'say what holds it (`heldBy`) and who comes first (`waitingBefore`). `run_not_running`, `company_archived`, ' +
      '`too_many_waiting`, `idempotency_key_reused`',
  })
  @ApiUnprocessableEntityResponse({
    description: '`environment_archived`, `environment_deleted`, `workspace_archived`, `workspace_elsewhere`',
  })
  async acquire(
    @Param('companyId', IdPipe) companyId: string,
    @Body() body: AcquireLeaseDto,
    @RepeatOf() request: IdempotentRequest | null,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<LeaseResponse> {
    assertCompanyAccess(companyId);
    const wish = this.wishOf(companyId, body);
    return this.reservations.acquire(wish, {
      waitSec: body.waitSec ?? 0,
      gone: goneSignal(reply),
      canAskAgain: request !== null,
      recheck: () => this.callers.of(reply.request),
      carryOut: (grant) => this.keys.once(request, reply, async () => LeaseResponse.from(await grant())),
    });
  }

  private wishOf(companyId: string, body: AcquireLeaseDto): LeaseWish {
    const { environmentId, executionWorkspaceId = null, ttlSec = null, metadata = {} } = body;
    const heartbeatRunId = holdingRun(body);
    const holder = body.holder ?? (heartbeatRunId && `run:${heartbeatRunId}`);
    if (holder === null) {
      const problem = { field: 'holder', message: 'is required, except for a further lease of a run' };
      throw new InvalidInputError('A reservation names its holder', [problem]);
    }
    const wished = { companyId, environmentId, executionWorkspaceId, heartbeatRunId, holder, metadata };
    return { ...wished, ttlSec: heartbeatRunId === null ? (ttlSec ?? this.config.leaseTtlSec) : ttlSec };
  }
}

/**
 * @returns the run that the lease is to be a further one of; null for a reservation.
 * @throws OperatorOnlyError, RunMismatchError
 */
function holdingRun({ heartbeatRunId }: AcquireLeaseDto): string | null {
  const actor = currentActor();
  const own = actor.type === 'agent' ? actor.runId : null;
  if (own === null) assertOperator();
  else if (heartbeatRunId !== undefined && heartbeatRunId !== own) throw new RunMismatchError();
  return own ?? heartbeatRunId ?? null;
}

/** Aborted when the connection closes before the answer has been sent. */
function goneSignal(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) gone.abort();
  });
  return gone.signal;
}
