import { Body, Controller, Get, Param, Post, Query } from '@nestjs/common';
import { ApiCreatedResponse, ApiTags } from '@nestjs/swagger';
import { Access } from '../auth/access.decorator.js';
import type { Page } from '../database/page.js';
import { ApiPage } from '../http/api-page.decorator.js';
import { Idempotent } from '../http/idempotent.decorator.js';
import { CreateIssueCommentDto, IssueCommentResponse, IssueCommentsQueryDto } from './issue-comment.dto.js';
import { IssueCommentsService } from './issue-comments.service.js';
import { IssuesService } from './issues.service.js';

@ApiTags('Issues')
@Controller('issues/:idOrIdentifier/comments')
export class IssueCommentsController {
  constructor(
    private readonly issues: IssuesService,
    private readonly comments: IssueCommentsService,
  ) {}

  /** What was said about an issue, newest first unless asked otherwise. */
  @Get()
  @Access('members:read')
  @ApiPage(IssueCommentResponse)
  async list(
    @Param('idOrIdentifier') idOrIdentifier: string,
    @Query() query: IssueCommentsQueryDto,
  ): Promise<Page<IssueCommentResponse>> {
    const issue = await this.issues.require(idOrIdentifier);
    return (await this.comments.list(issue, query)).map(IssueCommentResponse.from);
  }

  /** Says something about an issue, and wakes the agent that has it. */
  @Post()
  @Access('members:write')
  @Idempotent()
  @ApiCreatedResponse({ type: IssueCommentResponse })
  async add(
    @Param('idOrIdentifier') idOrIdentifier: string,
    @Body() { body }: CreateIssueCommentDto,
  ): Promise<IssueCommentResponse> {
    const issue = await this.issues.require(idOrIdentifier);
    return IssueCommentResponse.from(await this.comments.add(issue, body));
  }
}
