import { Body, Controller, HttpCode, Param, Post } from '@nestjs/common';
import {
  ApiAcceptedResponse,
  ApiConflictResponse,
  ApiForbiddenResponse,
  ApiTags,
  ApiTooManyRequestsResponse,
  ApiUnprocessableEntityResponse,
} from '@nestjs/swagger';
import { EntityManager } from '@mikro-orm/postgresql';
import { Access } from '../../auth/access.decorator.js';
import { callersPayload } from '../wakes/callers-payload.js';
import { IdPipe } from '../../http/id.pipe.js';
import { Idempotent } from '../../http/idempotent.decorator.js';
import { RunResponse } from './run.dto.js';
import { RunsService } from '../runs/runs.service.js';
import { WakeService } from '../wakes/wake.service.js';
import { WakeDto, WakeResponse } from './wake.dto.js';
import type { WakeAnswer } from '../wakes/wake.js';

@ApiTags('Heartbeat')
@ApiAcceptedResponse({ type: WakeResponse, description: 'The run with all its fields, or why there is none' })
@ApiForbiddenResponse({ description: '`wake_others_forbidden`' })
@ApiConflictResponse({
  description: '`agent_paused`, `agent_terminated`, `agent_pending_approval`, `company_archived`',
})
@ApiUnprocessableEntityResponse({ description: '`unknown_issue`' })
@ApiTooManyRequestsResponse({ description: '`queued_runs_quota_reached`, `too_many_requests`' })
@Controller('agents/:id')
export class WakeController {
  constructor(
    private readonly em: EntityManager,
    private readonly wakes: WakeService,
    private readonly runs: RunsService,
  ) {}

  /** Wakes an agent. */
  @Post('wakeup')
  @Access('members:write')
  @HttpCode(202)
  @Idempotent()
  wakeup(@Param('id', IdPipe) agentId: string, @Body() body: WakeDto): Promise<WakeResponse> {
    return this.wake(agentId, body);
  }

  /** Wakes an agent on demand; the body may be empty. */
  @Post('heartbeat/invoke')
  @Access('members:write')
  @HttpCode(202)
  @Idempotent()
  invoke(@Param('id', IdPipe) agentId: string, @Body() body: WakeDto): Promise<WakeResponse> {
    return this.wake(agentId, { ...body, source: 'on_demand' });
  }

  private async wake(agentId: string, body: WakeDto): Promise<WakeResponse> {
    const { source = 'on_demand', triggerDetail = 'manual', reason = null, forceFreshSession } = body;
    const payload = { ...callersPayload(body.payload ?? {}), ...(forceFreshSession ? { forceFreshSession } : {}) };
    return this.answer(await this.wakes.wake({ agentId, source, triggerDetail, reason, payload }));
  }

  /** A wake that became or joined a run is answered with that run; any other says what became of it. */
  private async answer({ wakeupRequestId, status, reason, runId, run }: WakeAnswer): Promise<WakeResponse> {
    const wake = { wakeupRequestId, wakeStatus: status };
    if (status === 'skipped') return { status, reason, ...wake };
    if (status === 'deferred_issue_execution') return { id: runId!, status, reason, ...wake };
    // Inside the transaction of an idempotent request the run is still in the unit of work.
    if (this.em.isInTransaction()) await this.em.flush();
    return { ...RunResponse.from(run ?? (await this.runs.require(runId!))), ...wake };
  }
}
