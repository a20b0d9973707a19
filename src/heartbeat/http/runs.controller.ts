import { Body, Controller, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiForbiddenResponse, ApiGoneResponse, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { Access } from '../../auth/access.decorator.js';
import type { Page } from '../../database/page.js';
import { ApiPage } from '../../http/api-page.decorator.js';
import { IdPipe } from '../../http/id.pipe.js';
import { LeaseResponse } from '../../leases/lease.dto.js';
import { LeasesService } from '../../leases/leases.service.js';
import { CancelService } from '../ending/cancel.service.js';
import { RunLogRemovedError } from '../logs/log-errors.js';
import { RunLogReader } from '../logs/run-log-reader.js';
import { PlacementsService } from '../waiting/placements.service.js';
import { PlacementResponse, RunIssueResponse } from './placement.dto.js';
import { RunEventQueryDto, RunEventResponse } from './run-event.dto.js';
import { RunLogQueryDto, RunLogResponse } from './run-log.dto.js';
import { CancelRunDto, LiveRunQueryDto, RunQueryDto, RunResponse, RunRowResponse } from './run.dto.js';
import { storyOf } from '../runs/run-story.js';
import { RunsService } from '../runs/runs.service.js';

const LOG_BYTES = 262_144;
const OTHER_AGENTS = { description: '`other_agents_run`: an agent sees its own runs' };

@ApiTags('Heartbeat')
@Controller()
export class RunsController {
  constructor(
    private readonly runs: RunsService,
    private readonly cancels: CancelService,
    private readonly logs: RunLogReader,
    private readonly leases: LeasesService,
    private readonly placements: PlacementsService,
  ) {}

  /** A company's runs, newest first. */
  @Get('companies/:companyId/heartbeat-runs')
  @Access('members:read')
  @ApiPage(RunRowResponse)
  async list(
    @Param('companyId', IdPipe) companyId: string,
    @Query() query: RunQueryDto,
  ): Promise<Page<RunRowResponse>> {
    const { full = false, ...filter } = query;
    return full
      ? (await this.runs.ofCompanyInFull(companyId, filter)).map(RunResponse.from)
      : (await this.runs.ofCompany(companyId, filter)).map(RunRowResponse.from);
  }

  /** What is queued and running now. */
  @Get('companies/:companyId/live-runs')
  @Access('members:read')
  @ApiOkResponse({ type: RunRowResponse, isArray: true })
  async live(
    @Param('companyId', IdPipe) companyId: string,
    @Query() { limit = 50, minCount = 0 }: LiveRunQueryDto,
  ): Promise<RunRowResponse[]> {
    return (await this.runs.live(companyId, limit, minCount)).map((run) => RunRowResponse.from(run));
  }

  /** One run. */
  @Get('heartbeat-runs/:runId')
  @Access('members:read')
  @ApiForbiddenResponse(OTHER_AGENTS)
  @ApiOkResponse({ type: RunResponse })
  async get(@Param('runId', IdPipe) runId: string): Promise<RunResponse> {
    return RunResponse.from(await this.runs.require(runId));
  }

  /** Ends a run that is not wanted any more: a waiting one at once, a running one by ending its processes. */
  @Post('heartbeat-runs/:runId/cancel')
  @Access('operators:write')
  @HttpCode(200)
  @ApiOkResponse({ type: RunResponse })
  async cancel(@Param('runId', IdPipe) runId: string, @Body() { reason }: CancelRunDto): Promise<RunResponse> {
    await this.cancels.cancel(runId, reason ?? 'Cancelled by an operator');
    return RunResponse.from(await this.runs.require(runId));
  }

  /** A run's own story, oldest first. */
  @Get('heartbeat-runs/:runId/events')
  @Access('members:read')
  @ApiForbiddenResponse(OTHER_AGENTS)
  @ApiOkResponse({ type: RunEventResponse, isArray: true })
  async events(
    @Param('runId', IdPipe) runId: string,
    @Query() { afterSeq = 0, limit = 200 }: RunEventQueryDto,
  ): Promise<RunEventResponse[]> {
    const run = await this.runs.require(runId);
    const later = storyOf(run).filter(({ seq }) => seq > afterSeq);
    return later.slice(0, limit).map((event) => RunEventResponse.from(run, event));
  }

  /** What a run wrote, from an offset on; whole lines. */
  @Get('heartbeat-runs/:runId/log')
  @Access('members:read')
  @ApiForbiddenResponse(OTHER_AGENTS)
  @ApiOkResponse({ type: RunLogResponse })
  @ApiGoneResponse({ description: '`run_log_removed`: it had been kept for long enough' })
  async log(
    @Param('runId', IdPipe) runId: string,
    @Query() { offset = 0, limitBytes = LOG_BYTES }: RunLogQueryDto,
  ): Promise<RunLogResponse> {
    const run = await this.runs.require(runId);
    const part = await this.logs.read(runId, offset, limitBytes);
    if (part.content === '' && (await this.logs.isRemoved(run))) throw new RunLogRemovedError(runId);
    return { runId, store: 'database', logRef: runId, content: part.content, nextOffset: part.nextOffset };
  }

  /** The issue that a run works on, if one. */
  @Get('heartbeat-runs/:runId/issues')
  @Access('members:read')
  @ApiForbiddenResponse(OTHER_AGENTS)
  @ApiOkResponse({ type: RunIssueResponse, isArray: true })
  async issues(@Param('runId', IdPipe) runId: string): Promise<RunIssueResponse[]> {
    return this.placements.issuesOf(await this.runs.require(runId));
  }

  /** Why a run is where it is, or why it is still waiting. */
  @Get('heartbeat-runs/:runId/placement')
  @Access('members:read')
  @ApiForbiddenResponse(OTHER_AGENTS)
  @ApiOkResponse({ type: PlacementResponse })
  async placement(@Param('runId', IdPipe) runId: string): Promise<PlacementResponse> {
    return this.placements.explain(await this.runs.require(runId));
  }

  /** A run's leases, newest first. */
  @Get('heartbeat-runs/:runId/leases')
  @Access('members:read')
  @ApiForbiddenResponse(OTHER_AGENTS)
  @ApiOkResponse({ type: LeaseResponse, isArray: true })
  async leasesOf(@Param('runId', IdPipe) runId: string): Promise<LeaseResponse[]> {
    const { companyId } = await this.runs.require(runId);
    return (await this.leases.ofRun(companyId, runId)).map(LeaseResponse.from);
  }

  /** An issue's runs, newest first. */
  @Get('issues/:issueId/runs')
  @Access('members:read')
  @ApiPage(RunRowResponse)
  async ofIssue(@Param('issueId') issueId: string, @Query() query: RunQueryDto): Promise<Page<RunRowResponse>> {
    return (await this.runs.ofIssue(issueId, query)).map((run) => RunRowResponse.from(run));
  }

  /** The issue's queued and running runs. */
  @Get('issues/:issueId/live-runs')
  @Access('members:read')
  @ApiOkResponse({ type: RunResponse, isArray: true })
  async liveOfIssue(@Param('issueId') issueId: string): Promise<RunResponse[]> {
    return (await this.runs.liveOfIssue(issueId)).map((run) => RunResponse.from(run));
  }

  /** The issue's live run, or null. */
  @Get('issues/:issueId/active-run')
  @Access('members:read')
  @ApiOkResponse({ type: RunResponse })
  async activeOfIssue(@Param('issueId') issueId: string): Promise<RunResponse | null> {
    const [run] = await this.runs.liveOfIssue(issueId);
    return run ? RunResponse.from(run) : null;
  }
}
