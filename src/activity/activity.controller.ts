import { Body, Controller, Get, Headers, Param, Post, Query, Res } from '@nestjs/common';
import { ApiCreatedResponse, ApiGoneResponse, ApiHeader, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { Access } from '../auth/access.decorator.js';
import type { Page } from '../database/page.js';
import { ApiPage } from '../http/api-page.decorator.js';
import { IdPipe } from '../http/id.pipe.js';
import { Idempotent } from '../http/idempotent.decorator.js';
import { ActivityStreams } from './activity-streams.js';
import { ActivityQueryDto, ActivityResponse, ActivityStreamQueryDto, AddActivityDto } from './activity.dto.js';
import { ActivityService } from './activity.service.js';

@ApiTags('Activity')
@Controller('companies/:companyId/activity')
export class ActivityController {
  constructor(
    private readonly activity: ActivityService,
    private readonly streams: ActivityStreams,
  ) {}

  /** The record of every state change in a company, newest first. */
  @Get()
  @Access('members:read')
  @ApiPage(ActivityResponse)
  async list(
    @Param('companyId', IdPipe) companyId: string,
    @Query() query: ActivityQueryDto,
  ): Promise<Page<ActivityResponse>> {
    return (await this.activity.list(companyId, query)).map((entry) => ActivityResponse.from(entry));
  }

  /** Adds an entry of the caller's own, under an action that begins with `custom.`. */
  @Post()
  @Access('members:write')
  @Idempotent()
  @ApiCreatedResponse({ type: ActivityResponse })
  async add(@Param('companyId', IdPipe) companyId: string, @Body() dto: AddActivityDto): Promise<ActivityResponse> {
    return ActivityResponse.from(await this.activity.add(companyId, dto));
  }

  /**
   * The record as it grows, as Server-Sent Events whose data is one entry each. A client that sends the id of the last
   * event it has seen as `Last-Event-ID` goes on after it, without loss or repeat; otherwise the stream starts now.
   * The server ends a stream after 15 minutes; clients resume by themselves.
   */
  @Get('stream')
  @Access('members:read')
  @ApiHeader({ name: 'Last-Event-ID', required: false, schema: { type: 'string' } })
  @ApiOkResponse({ content: { 'text/event-stream': { schema: { type: 'string' } } } })
  @ApiGoneResponse({
    description:
      '`cursor_of_another_history`: the database was restored since. `entries_removed`: entries that followed are gone. ' +
      'Read the list anew, and start without an id',
  })
  stream(
    @Param('companyId', IdPipe) companyId: string,
    @Query() { lastEventId, from }: ActivityStreamQueryDto,
    @Headers('last-event-id') resumeAfter: string | undefined,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    return this.streams.serve(companyId, resumeAfter ?? lastEventId, from, reply);
  }
}
