import { Body, Controller, Get, Param, Patch, Post, Query } from '@nestjs/common';
import {
  ApiConflictResponse,
  ApiCreatedResponse,
  ApiOkResponse,
  ApiTags,
  ApiUnprocessableEntityResponse,
} from '@nestjs/swagger';
import { Access } from '../auth/access.decorator.js';
import type { Page } from '../database/page.js';
import { ApiPage } from '../http/api-page.decorator.js';
import { IdPipe } from '../http/id.pipe.js';
import { Idempotent } from '../http/idempotent.decorator.js';
import { PageQueryDto } from '../http/page-query.dto.js';
import { CreateWorkspaceDto, UpdateWorkspaceDto, WorkspaceResponse } from './execution-workspace.dto.js';
import { ExecutionWorkspacesService } from './execution-workspaces.service.js';

@ApiTags('Workspaces')
@Controller()
export class ExecutionWorkspacesController {
  constructor(private readonly workspaces: ExecutionWorkspacesService) {}

  /** A company's execution workspaces, newest first. */
  @Get('companies/:companyId/execution-workspaces')
  @Access('members:read')
  @ApiPage(WorkspaceResponse)
  async list(
    @Param('companyId', IdPipe) companyId: string,
    @Query() query: PageQueryDto,
  ): Promise<Page<WorkspaceResponse>> {
    return (await this.workspaces.list(companyId, query)).map(WorkspaceResponse.from);
  }

  /** Makes an execution workspace. */
  @Post('companies/:companyId/execution-workspaces')
  @Access('operators:write')
  @Idempotent()
  @ApiCreatedResponse({ type: WorkspaceResponse })
  @ApiConflictResponse({ description: '`workspace_name_taken`, `company_archived`' })
  @ApiUnprocessableEntityResponse({ description: '`environment_not_found`, `environment_archived`' })
  async create(
    @Param('companyId', IdPipe) companyId: string,
    @Body() body: CreateWorkspaceDto,
  ): Promise<WorkspaceResponse> {
    return WorkspaceResponse.from(await this.workspaces.create(companyId, body));
  }

  /** One execution workspace. */
  @Get('execution-workspaces/:id')
  @Access('members:read')
  @ApiOkResponse({ type: WorkspaceResponse })
  async get(@Param('id', IdPipe) id: string): Promise<WorkspaceResponse> {
    return WorkspaceResponse.from(await this.workspaces.require(id));
  }

  /** Changes the fields that are given. */
  @Patch('execution-workspaces/:id')
  @Access('operators:write')
  @ApiOkResponse({ type: WorkspaceResponse })
  @ApiConflictResponse({ description: '`workspace_name_taken`' })
  async update(@Param('id', IdPipe) id: string, @Body() body: UpdateWorkspaceDto): Promise<WorkspaceResponse> {
    return WorkspaceResponse.from(await this.workspaces.update(id, body));
  }
}
