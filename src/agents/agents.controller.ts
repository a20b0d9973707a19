import { Body, Controller, Delete, Get, HttpCode, Param, Patch, Post, Query, Res } from '@nestjs/common';
import {
  ApiConflictResponse,
  ApiCreatedResponse,
  ApiForbiddenResponse,
  ApiNoContentResponse,
  ApiOkResponse,
  ApiTags,
  ApiUnprocessableEntityResponse,
} from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { Access } from '../auth/access.decorator.js';
import type { Page } from '../database/page.js';
import { ApiPage } from '../http/api-page.decorator.js';
import { IdPipe } from '../http/id.pipe.js';
import { IdempotencyKeys } from '../http/idempotency-keys.js';
import type { IdempotentRequest } from '../http/idempotent-request.js';
import { IdempotentOnceDone, RepeatOf } from '../http/idempotent.decorator.js';
import { PageQueryDto } from '../http/page-query.dto.js';
import { AgentLifecycleService } from './agent-lifecycle.service.js';
import { AgentRuntimeStateResponse } from './agent-runtime-state.dto.js';
import { AgentRuntimeStateService } from './agent-runtime-state.service.js';
import { AgentResponse, CreateAgentDto, FindAgentQueryDto, PauseAgentDto, UpdateAgentDto } from './agent.dto.js';
import { AgentsService } from './agents.service.js';

const UNUSABLE = { description: '`environment_not_found`, `environment_archived`, `secret_not_found`' };
const TERMINATED = { description: '`agent_terminated`' };

@ApiTags('Agents')
@Controller()
export class AgentsController {
  constructor(
    private readonly agents: AgentsService,
    private readonly lifecycle: AgentLifecycleService,
    private readonly runtimeStates: AgentRuntimeStateService,
    private readonly keys: IdempotencyKeys,
  ) {}

  /** A company's agents, newest first. */
  @Get('companies/:companyId/agents')
  @Access('members:read')
  @ApiPage(AgentResponse)
  async list(
    @Param('companyId', IdPipe) companyId: string,
    @Query() query: PageQueryDto,
  ): Promise<Page<AgentResponse>> {
    return (await this.agents.list(companyId, query)).map((agent) => AgentResponse.from(agent));
  }

  /** Makes an agent. A repeated request is answered with what it is by then. */
  @Post('companies/:companyId/agents')
  @Access('operators:write')
  @IdempotentOnceDone()
  @ApiCreatedResponse({ type: AgentResponse })
  @ApiUnprocessableEntityResponse({ description: `${UNUSABLE.description}, \`agents_quota_reached\`` })
  async create(
    @Param('companyId', IdPipe) companyId: string,
    @Body() body: CreateAgentDto,
    @RepeatOf() repeat: IdempotentRequest | null,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<AgentResponse> {
    const make = () => this.agents.create(companyId, body);
    return AgentResponse.from(await this.keys.onceMade(repeat, reply, make, (id) => this.agents.require(id)));
  }

  /** The agent that asks. */
  @Get('agents/me')
  @Access('members:read')
  @ApiOkResponse({ type: AgentResponse })
  @ApiForbiddenResponse({ description: '`not_an_agent`' })
  async me(): Promise<AgentResponse> {
    return AgentResponse.from(await this.agents.me());
  }

  /** One agent, by id, or by name together with `companyId`. */
  @Get('agents/:ref')
  @Access('members:read')
  @ApiOkResponse({ type: AgentResponse })
  @ApiConflictResponse({ description: '`agent_name_ambiguous`' })
  async get(@Param('ref') ref: string, @Query() { companyId }: FindAgentQueryDto): Promise<AgentResponse> {
    return AgentResponse.from(await this.agents.find(ref, companyId));
  }

  /** Changes the fields that are given. */
  @Patch('agents/:id')
  @Access('operators:write')
  @ApiOkResponse({ type: AgentResponse })
  @ApiConflictResponse(TERMINATED)
  @ApiUnprocessableEntityResponse(UNUSABLE)
  async update(@Param('id', IdPipe) id: string, @Body() body: UpdateAgentDto): Promise<AgentResponse> {
    return AgentResponse.from(await this.agents.update(id, body));
  }

  /** Terminates an agent and takes it out of sight; refused while it is running. */
  @Delete('agents/:id')
  @Access('operators:write')
  @HttpCode(204)
  @ApiNoContentResponse()
  @ApiConflictResponse({ description: '`agent_has_running_runs`; details name the runs' })
  async delete(@Param('id', IdPipe) id: string): Promise<void> {
    await this.lifecycle.delete(id);
  }

  /** Cancels its runs, unless they are to drain, and starts none until it is resumed. */
  @Post('agents/:id/pause')
  @Access('operators:write')
  @HttpCode(200)
  @ApiOkResponse({ type: AgentResponse })
  @ApiConflictResponse(TERMINATED)
  async pause(@Param('id', IdPipe) id: string, @Body() body: PauseAgentDto): Promise<AgentResponse> {
    return AgentResponse.from(await this.lifecycle.pause(id, body));
  }

  /** Lets its runs start again. */
  @Post('agents/:id/resume')
  @Access('operators:write')
  @HttpCode(200)
  @ApiOkResponse({ type: AgentResponse })
  @ApiConflictResponse(TERMINATED)
  async resume(@Param('id', IdPipe) id: string): Promise<AgentResponse> {
    return AgentResponse.from(await this.lifecycle.resume(id));
  }

  /** Ends it for good: it never runs again. */
  @Post('agents/:id/terminate')
  @Access('operators:write')
  @HttpCode(200)
  @ApiOkResponse({ type: AgentResponse })
  async terminate(@Param('id', IdPipe) id: string): Promise<AgentResponse> {
    return AgentResponse.from(await this.lifecycle.terminate(id));
  }

  /** What it is doing now, and what it did last. */
  @Get('agents/:id/runtime-state')
  @Access('members:read')
  @ApiOkResponse({ type: AgentRuntimeStateResponse })
  async runtimeState(@Param('id', IdPipe) id: string): Promise<AgentRuntimeStateResponse> {
    return this.runtimeStates.read(id);
  }
}
