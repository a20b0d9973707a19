import { Body, Controller, Delete, Get, HttpCode, Param, Patch, Post, Query, Res } from '@nestjs/common';
import {
  ApiConflictResponse,
  ApiCreatedResponse,
  ApiNoContentResponse,
  ApiOkResponse,
  ApiTags,
  ApiUnprocessableEntityResponse,
} from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { Access } from '../auth/access.decorator.js';
import { CompaniesService } from '../companies/companies.service.js';
import type { Page } from '../database/page.js';
import { ApiPage } from '../http/api-page.decorator.js';
import { IdPipe } from '../http/id.pipe.js';
import { IdempotencyKeys } from '../http/idempotency-keys.js';
import type { IdempotentRequest } from '../http/idempotent-request.js';
import { IdempotentOnceDone, RepeatOf } from '../http/idempotent.decorator.js';
import { DriverRegistry } from './drivers/driver-registry.js';
import { EnvironmentProbesService } from './environment-probes.service.js';
import { EnvironmentUsages, isHeld } from './environment-usage.js';
import {
  CreateEnvironmentDto,
  DrainEnvironmentDto,
  DeleteBlastRadiusResponse,
  EnvironmentCapabilitiesResponse,
  EnvironmentQueryDto,
  EnvironmentResponse,
  ProbeConfigDto,
  ProbeResponse,
  UpdateEnvironmentDto,
} from './environment.dto.js';
import type { Environment, EnvironmentStatus } from './environment.entity.js';
import { EnvironmentsService } from './environments.service.js';

const NO_SECRET = { description: '`secret_not_found`; the details say where' };

@ApiTags('Environments')
@Controller()
export class EnvironmentsController {
  constructor(
    private readonly environments: EnvironmentsService,
    private readonly probes: EnvironmentProbesService,
    private readonly usages: EnvironmentUsages,
    private readonly companies: CompaniesService,
    private readonly drivers: DriverRegistry,
    private readonly keys: IdempotencyKeys,
  ) {}

  /** A company's environments, newest first; its `Local` is made if it has none. */
  @Get('companies/:companyId/environments')
  @Access('members:read')
  @ApiPage(EnvironmentResponse)
  async list(
    @Param('companyId', IdPipe) companyId: string,
    @Query() query: EnvironmentQueryDto,
  ): Promise<Page<EnvironmentResponse>> {
    const page = await this.environments.list(companyId, query);
    const counts = await this.usages.activeLeaseCounts(page.items.map(({ id }) => id));
    return page.map((environment) => EnvironmentResponse.from(environment, counts.get(environment.id) ?? 0));
  }

  /** Makes an environment. A repeated request is answered with what it is by then. */
  @Post('companies/:companyId/environments')
  @Access('operators:write')
  @IdempotentOnceDone()
  @ApiCreatedResponse({ type: EnvironmentResponse })
  @ApiConflictResponse({ description: '`environment_name_taken`, `local_environment_exists`, `company_archived`' })
  @ApiUnprocessableEntityResponse({ description: `${NO_SECRET.description}, \`environments_quota_reached\`` })
  async create(
    @Param('companyId', IdPipe) companyId: string,
    @Body() body: CreateEnvironmentDto,
    @RepeatOf() repeat: IdempotentRequest | null,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<EnvironmentResponse> {
    const make = () => this.environments.create(companyId, body);
    return this.respond(await this.keys.onceMade(repeat, reply, make, (id) => this.environments.require(id)));
  }

  /** The drivers that there are, and what each needs to know. */
  @Get('companies/:companyId/environments/capabilities')
  @Access('members:read')
  @ApiOkResponse({ type: EnvironmentCapabilitiesResponse })
  async capabilities(@Param('companyId', IdPipe) companyId: string): Promise<EnvironmentCapabilitiesResponse> {
    await this.companies.assertExists(companyId);
    return { drivers: this.drivers.capabilities() };
  }

  /** Looks whether an environment made of this could be used; nothing is kept. */
  @Post('companies/:companyId/environments/probe-config')
  @Access('operators:write')
  @HttpCode(200)
  @ApiOkResponse({ type: ProbeResponse })
  probeConfig(@Param('companyId', IdPipe) companyId: string, @Body() body: ProbeConfigDto): Promise<ProbeResponse> {
    return this.probes.probeConfig(companyId, body);
  }

  /** One environment. */
  @Get('environments/:id')
  @Access('members:read')
  @ApiOkResponse({ type: EnvironmentResponse })
  async get(@Param('id', IdPipe) id: string): Promise<EnvironmentResponse> {
    return this.respond(await this.environments.require(id));
  }

  /** Changes the fields that are given. */
  @Patch('environments/:id')
  @Access('operators:write')
  @ApiOkResponse({ type: EnvironmentResponse })
  @ApiConflictResponse({ description: '`environment_name_taken`, `environment_archived`' })
  @ApiUnprocessableEntityResponse(NO_SECRET)
  async update(@Param('id', IdPipe) id: string, @Body() body: UpdateEnvironmentDto): Promise<EnvironmentResponse> {
    return this.respond(await this.environments.update(id, body));
  }

  /** Deletes an environment in which nothing is held. */
  @Delete('environments/:id')
  @Access('operators:write')
  @HttpCode(204)
  @ApiNoContentResponse()
  @ApiConflictResponse({ description: '`environment_in_use`; the details say what holds it' })
  async delete(@Param('id', IdPipe) id: string): Promise<void> {
    await this.environments.delete(id);
  }

  /** What deleting an environment would touch, and what holds it now. */
  @Get('environments/:id/delete-blast-radius')
  @Access('members:read')
  @ApiOkResponse({ type: DeleteBlastRadiusResponse })
  async blastRadius(@Param('id', IdPipe) id: string): Promise<DeleteBlastRadiusResponse> {
    const usage = await this.environments.usage(id);
    return { environmentId: id, canDelete: !isHeld(usage), ...usage };
  }

  /** Looks whether a run could execute there now. */
  @Post('environments/:id/probe')
  @Access('operators:write')
  @HttpCode(200)
  @ApiOkResponse({ type: ProbeResponse })
  probe(@Param('id', IdPipe) id: string): Promise<ProbeResponse> {
    return this.probes.probe(id);
  }

  /**
   * Takes no new leases from now on; runs that were sent there wait. What runs there ends by itself, or with `graceSec`
   * when that is over: runs as `cancelled` with the code `lease_revoked`, not retried. Repeated with a shorter grace, the
   * shorter one counts. Activating the environment lets new leases in, and gives nothing back that was revoked.
   */
  @Post('environments/:id/drain')
  @Access('operators:write')
  @HttpCode(200)
  @ApiOkResponse({ type: EnvironmentResponse })
  @ApiConflictResponse({ description: '`environment_archived`' })
  async drain(@Param('id', IdPipe) id: string, @Body() body: DrainEnvironmentDto): Promise<EnvironmentResponse> {
    return this.respond(await this.environments.drain(id, body));
  }

  /** Takes leases again. */
  @Post('environments/:id/activate')
  @Access('operators:write')
  @HttpCode(200)
  @ApiOkResponse({ type: EnvironmentResponse })
  activate(@Param('id', IdPipe) id: string): Promise<EnvironmentResponse> {
    return this.changeStatus(id, 'active');
  }

  /** Takes no more leases; runs that were sent there fail, those that run there end by themselves. */
  @Post('environments/:id/archive')
  @Access('operators:write')
  @HttpCode(200)
  @ApiOkResponse({ type: EnvironmentResponse })
  archive(@Param('id', IdPipe) id: string): Promise<EnvironmentResponse> {
    return this.changeStatus(id, 'archived');
  }

  private async changeStatus(id: string, status: EnvironmentStatus): Promise<EnvironmentResponse> {
    return this.respond(await this.environments.changeStatus(id, status));
  }

  private async respond(environment: Environment): Promise<EnvironmentResponse> {
    const counts = await this.usages.activeLeaseCounts([environment.id]);
    return EnvironmentResponse.from(environment, counts.get(environment.id) ?? 0);
  }
}
