import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiConflictResponse, ApiCreatedResponse, ApiNoContentResponse, ApiTags } from '@nestjs/swagger';
import { Access } from '../auth/access.decorator.js';
import type { Page } from '../database/page.js';
import { ApiPage } from '../http/api-page.decorator.js';
import { IdPipe } from '../http/id.pipe.js';
import { Idempotent } from '../http/idempotent.decorator.js';
import { PageQueryDto } from '../http/page-query.dto.js';
import { AgentKeyResponse, CreateAgentKeyDto, CreatedAgentKeyResponse } from './agent-keys.dto.js';
import { AgentKeysService } from './agent-keys.service.js';

@ApiTags('Agents')
@Controller('agents/:id/keys')
export class AgentKeysController {
  constructor(private readonly keys: AgentKeysService) {}

  /** An agent's API keys, newest first, without their secrets. */
  @Get()
  @Access('operators:read')
  @ApiPage(AgentKeyResponse)
  async list(@Param('id', IdPipe) agentId: string, @Query() query: PageQueryDto): Promise<Page<AgentKeyResponse>> {
    return (await this.keys.list(agentId, query)).map(AgentKeyResponse.from);
  }

  /** Makes an API key; its token is shown in this answer only, and not in the answer to a repeated request. */
  @Post()
  @Access('operators:write')
  @Idempotent(['token'])
  @ApiCreatedResponse({ type: CreatedAgentKeyResponse })
  @ApiConflictResponse({ description: '`agent_terminated`' })
  async create(
    @Param('id', IdPipe) agentId: string,
    @Body() { name }: CreateAgentKeyDto,
  ): Promise<CreatedAgentKeyResponse> {
    const { key, token } = await this.keys.create(agentId, name);
    return { id: key.id, name: key.name, token, createdAt: key.createdAt };
  }

  /** Revokes an API key. */
  @Delete(':keyId')
  @Access('operators:write')
  @HttpCode(204)
  @ApiNoContentResponse()
  async revoke(@Param('id', IdPipe) agentId: string, @Param('keyId', IdPipe) keyId: string): Promise<void> {
    await this.keys.revoke(agentId, keyId);
  }
}
