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
import type { Page } from '../database/page.js';
import { ApiPage } from '../http/api-page.decorator.js';
import { IdPipe } from '../http/id.pipe.js';
import { Idempotent } from '../http/idempotent.decorator.js';
import { PageQueryDto } from '../http/page-query.dto.js';
import { AgentLifecycleService } from './agent-lifecycle.service.js';
import { AgentRuntimeStateResponse } from './agent-runtime-state.dto.js';
import { AgentRuntimeStateService } from './agent-runtime-state.service.js';
import { AgentResponse, CreateAgentDto, FindAgentQueryDto, PauseAgentDto, UpdateAgentDto } from './agent.dto.js';
import { AgentsService } from './agents.service.js';

const UNUSABLE_ENVIRONMENT = { description: '`environment_not_found`, `environment_archived`' };
const TERMINATED = { description: '`agent_terminated`' };
const OPERATOR_ONLY = { description: '`operator_only`' };

@ApiTags('Agents')
@Controller()
export class AgentsController {
  constructor(
    private readonly agents: AgentsService,
    private readonly lifecycle: AgentLifecycleService,
    private readonly runtimeStates: AgentRuntimeStateService,
  ) {}

  /** A company's agents, newest first. */
  @Get('companies/:companyId/agents')
  @ApiPage(AgentResponse)
  async list(
    @Param('companyId', IdPipe) companyId: string,
    @Query() query: PageQueryDto,
  ): Promise<Page<AgentResponse>> {
    return (await this.agents.list(companyId, query)).map(AgentResponse.from);
  }

  /** Makes an agent. */
  @Post('companies/:companyId/agents')
  @Idempotent()
  @ApiCreatedResponse({ type: AgentResponse })
  @ApiForbiddenResponse(OPERATOR_ONLY)
  @ApiUnprocessableEntityResponse({ description: `${UNUSABLE_ENVIRONMENT.description}, \`agents_quota_reached\`` })
  async create(@Param('companyId', IdPipe) companyId: string, @Body() body: CreateAgentDto): Promise<AgentResponse> {
    return AgentResponse.from(await this.agents.create(companyId, body));
  }

  /** The agent that asks. */
  @Get('agents/me')
  @ApiOkResponse({ type: AgentResponse })
  @ApiForbiddenResponse({ description: '`not_an_agent`' })
  async me(): Promise<AgentResponse> {
    return AgentResponse.from(await this.agents.me());
  }

  /** One agent, by id, or by name together with `companyId`. */
  @Get('agents/:ref')
  @ApiOkResponse({ type: AgentResponse })
  @ApiConflictResponse({ description: '`agent_name_ambiguous`' })
  async get(@Param('ref') ref: string, @Query() { companyId }: FindAgentQueryDto): Promise<AgentResponse> {
    return AgentResponse.from(await this.agents.find(ref, companyId));
  }

  /** Changes the fields that are given. */
  @Patch('agents/:id')
  @ApiOkResponse({ type: AgentResponse })
  @ApiForbiddenResponse(OPERATOR_ONLY)
  @ApiConflictResponse(TERMINATED)
  @ApiUnprocessableEntityResponse(UNUSABLE_ENVIRONMENT)
  async update(@Param('id', IdPipe) id: string, @Body() body: UpdateAgentDto): Promise<AgentResponse> {
    return AgentResponse.from(await this.agents.update(id, body));
  }

  /** Terminates an agent and takes it out of sight; refused while it is running. */
  @Delete('agents/:id')
  @HttpCode(204)
  @ApiNoContentResponse()
  @ApiForbiddenResponse(OPERATOR_ONLY)
  @ApiConflictResponse({ description: '`agent_has_running_runs`; details name the runs' })
  async delete(@Param('id', IdPipe) id: string): Promise<void> {
    await this.lifecycle.delete(id);
  }

  /** Cancels its runs, unless they are to drain, and starts none until it is resumed. */
  @Post('agents/:id/pause')
  @HttpCode(200)
  @ApiOkResponse({ type: AgentResponse })
  @ApiForbiddenResponse(OPERATOR_ONLY)
  @ApiConflictResponse(TERMINATED)
  async pause(@Param('id', IdPipe) id: string, @Body() body: PauseAgentDto): Promise<AgentResponse> {
    return AgentResponse.from(await this.lifecycle.pause(id, body));
  }

  /** Lets its runs start again. */
  @Post('agents/:id/resume')
  @HttpCode(200)
  @ApiOkResponse({ type: AgentResponse })
  @ApiForbiddenResponse(OPERATOR_ONLY)
  @ApiConflictResponse(TERMINATED)
  async resume(@Param('id', IdPipe) id: string): Promise<AgentResponse> {
    return AgentResponse.from(await this.lifecycle.resume(id));
  }

  /** Ends it for good: it never runs again. */
  @Post('agents/:id/terminate')
  @HttpCode(200)
  @ApiOkResponse({ type: AgentResponse })
  @ApiForbiddenResponse(OPERATOR_ONLY)
  async terminate(@Param('id', IdPipe) id: string): Promise<AgentResponse> {
    return AgentResponse.from(await this.lifecycle.terminate(id));
  }

  /** What it is doing now, and what it did last. */
  @Get('agents/:id/runtime-state')
  @ApiOkResponse({ type: AgentRuntimeStateResponse })
  async runtimeState(@Param('id', IdPipe) id: string): Promise<AgentRuntimeStateResponse> {
    return this.runtimeStates.read(id);
  }
}
