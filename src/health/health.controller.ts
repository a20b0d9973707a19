import { Controller, Get, Res } from '@nestjs/common';
import { ApiOkResponse, ApiServiceUnavailableResponse, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { Access } from '../auth/access.decorator.js';
import { HealthResponse, LivenessResponse } from './health.dto.js';
import { HealthService } from './health.service.js';

@ApiTags('Health')
@Controller('health')
export class HealthController {
  constructor(private readonly health: HealthService) {}

  /** How the server is: 503 when it cannot reach its database. */
  @Get()
  @Access('public')
  @ApiOkResponse({ type: HealthResponse })
  @ApiServiceUnavailableResponse({ type: HealthResponse })
  check(@Res({ passthrough: true }) reply: FastifyReply): Promise<HealthResponse> {
    return this.answer(this.health.check(), reply);
  }

  /** Whether the process answers at all; a supervisor that gets no answer restarts it. */
  @Get('live')
  @Access('public')
  @ApiOkResponse({ type: LivenessResponse })
  live(): LivenessResponse {
    return { status: 'ok' };
  }

  /** Whether requests should be sent here: 503 when the database cannot be reached, or the process was asked to stop. */
  @Get('ready')
  @Access('public')
  @ApiOkResponse({ type: HealthResponse })
  @ApiServiceUnavailableResponse({ type: HealthResponse })
  ready(@Res({ passthrough: true }) reply: FastifyReply): Promise<HealthResponse> {
    return this.answer(this.health.readiness(), reply);
  }

  private async answer(asked: Promise<HealthResponse>, reply: FastifyReply): Promise<HealthResponse> {
    const health = await asked;
    if (health.status !== 'ok') reply.status(503).header('Retry-After', '1');
    return health;
  }
}
