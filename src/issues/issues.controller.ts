import { Body, Controller, Delete, Get, HttpCode, Param, Patch, Post, Query } from '@nestjs/common';
import {
  ApiConflictResponse,
  ApiCreatedResponse,
  ApiForbiddenResponse,
  ApiNoContentResponse,
  ApiOkResponse,
  ApiTags,
  ApiUnprocessableEntityResponse,
} from '@nestjs/swagger';
import { Access } from '../auth/access.decorator.js';
import type { Page } from '../database/page.js';
import { ApiPage } from '../http/api-page.decorator.js';
import { IdPipe } from '../http/id.pipe.js';
import { Idempotent } from '../http/idempotent.decorator.js';
import { IssueCommentResponse } from './issue-comment.dto.js';
import {
  CheckoutIssueDto,
  CreateIssueDto,
  IssueResponse,
  IssuesQueryDto,
  UpdatedIssueResponse,
  UpdateIssueDto,
} from './issue.dto.js';
import { IssueCheckoutService } from './issue-checkout.service.js';
import { IssuesService } from './issues.service.js';

const UNUSABLE_REFERENCE = {
  description:
    '`assignee_not_found`, `environment_not_found`, `environment_archived`, `workspace_not_found`, `workspace_archived`',
};

const NOT_WHERE = { description: '`operator_only`: where its runs go, an agent cannot say' };

const HELD = { description: '`issue_held`; details say who has it and its status' };

@ApiTags('Issues')
@Controller()
export class IssuesController {
  constructor(
    private readonly issues: IssuesService,
    private readonly checkouts: IssueCheckoutService,
  ) {}

  /** A company's issues, newest first. */
  @Get('companies/:companyId/issues')
  @Access('members:read')
  @ApiPage(IssueResponse)
  async list(
    @Param('companyId', IdPipe) companyId: string,
    @Query() query: IssuesQueryDto,
  ): Promise<Page<IssueResponse>> {
    return (await this.issues.list(companyId, query)).map(IssueResponse.from);
  }

  /** Makes an issue, and wakes the agent that it is assigned to. */
  @Post('companies/:companyId/issues')
  @Access('members:write')
  @ApiForbiddenResponse(NOT_WHERE)
  @Idempotent()
  @ApiCreatedResponse({ type: IssueResponse })
  @ApiUnprocessableEntityResponse(UNUSABLE_REFERENCE)
  async create(@Param('companyId', IdPipe) companyId: string, @Body() body: CreateIssueDto): Promise<IssueResponse> {
    return IssueResponse.from(await this.issues.create(companyId, body));
  }

  /** One issue, by id or identifier. */
  @Get('issues/:idOrIdentifier')
  @Access('members:read')
  @ApiOkResponse({ type: IssueResponse })
  async get(@Param('idOrIdentifier') idOrIdentifier: string): Promise<IssueResponse> {
    return IssueResponse.from(await this.issues.require(idOrIdentifier));
  }

  /** Changes the fields that are given, and adds a comment if one is. */
  @Patch('issues/:idOrIdentifier')
  @Access('members:write')
  @ApiForbiddenResponse(NOT_WHERE)
  @ApiOkResponse({ type: UpdatedIssueResponse })
  @ApiUnprocessableEntityResponse(UNUSABLE_REFERENCE)
  async update(
    @Param('idOrIdentifier') idOrIdentifier: string,
    @Body() body: UpdateIssueDto,
  ): Promise<UpdatedIssueResponse> {
    const { issue, comment } = await this.issues.update(idOrIdentifier, body);
    return { ...IssueResponse.from(issue), ...(comment && { comment: IssueCommentResponse.from(comment) }) };
  }

  /** Takes up an issue: gives it to the agent and moves it to `in_progress`, unless somebody else has it. */
  @Post('issues/:idOrIdentifier/checkout')
  @Access('members:write')
  @HttpCode(200)
  @ApiOkResponse({ type: IssueResponse })
  @ApiForbiddenResponse({ description: '`checkout_for_others`' })
  @ApiConflictResponse(HELD)
  @ApiUnprocessableEntityResponse({ description: '`assignee_not_found`' })
  async checkout(
    @Param('idOrIdentifier') idOrIdentifier: string,
    @Body() { agentId, expectedStatuses }: CheckoutIssueDto,
  ): Promise<IssueResponse> {
    return IssueResponse.from(await this.checkouts.checkout(idOrIdentifier, agentId.toLowerCase(), expectedStatuses));
  }

  /** Gives an issue back: nobody has it any more, and if it is open it is `todo` again. */
  @Post('issues/:idOrIdentifier/release')
  @Access('members:write')
  @HttpCode(200)
  @ApiOkResponse({ type: IssueResponse })
  @ApiConflictResponse(HELD)
  async release(@Param('idOrIdentifier') idOrIdentifier: string): Promise<IssueResponse> {
    return IssueResponse.from(await this.checkouts.release(idOrIdentifier));
  }

  /** Takes an issue out of sight; refused while a run works on it. */
  @Delete('issues/:idOrIdentifier')
  @Access('operators:write')
  @HttpCode(204)
  @ApiNoContentResponse()
  @ApiConflictResponse({ description: '`issue_has_live_run`; details name the run' })
  async delete(@Param('idOrIdentifier') idOrIdentifier: string): Promise<void> {
    await this.issues.delete(idOrIdentifier);
  }
}
