import { Body, Controller, Get, HttpCode, Param, Patch, Post, Query } from '@nestjs/common';
import { ApiForbiddenResponse, ApiGoneResponse, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { Access } from '../auth/access.decorator.js';
import type { Page } from '../database/page.js';
import { ApiPage } from '../http/api-page.decorator.js';
import { IdPipe } from '../http/id.pipe.js';
import { EnvironmentLeaseQueryDto, LeaseQueryDto, LeaseResponse, PatchLeaseDto, RenewLeaseDto } from './lease.dto.js';
import { LeasesService } from './leases.service.js';

const NOT_HELD = { description: '`lease_lost`: it expired, has ended, or the token is not its token' };
const HISTORY_REMOVED = { description: '`history_removed`: leases of the time asked for may have been removed' };
const NOT_YOURS = { description: '`fencing_token_required`, `other_runs_lease`' };

@ApiTags('Leases')
@Controller()
export class LeasesController {
  constructor(private readonly leases: LeasesService) {}

  /** A company's leases, newest first. */
  @Get('companies/:companyId/environment-leases')
  @Access('members:read')
  @ApiPage(LeaseResponse)
  @ApiGoneResponse(HISTORY_REMOVED)
  async list(
    @Param('companyId', IdPipe) companyId: string,
    @Query() query: LeaseQueryDto,
  ): Promise<Page<LeaseResponse>> {
    return (await this.leases.ofCompany(companyId, query)).map(LeaseResponse.from);
  }

  /** An environment's leases, newest first. */
  @Get('environments/:id/leases')
  @Access('members:read')
  @ApiPage(LeaseResponse)
  @ApiGoneResponse(HISTORY_REMOVED)
  async ofEnvironment(
    @Param('id', IdPipe) id: string,
    @Query() query: EnvironmentLeaseQueryDto,
  ): Promise<Page<LeaseResponse>> {
    return (await this.leases.ofEnvironment(id, query)).map(LeaseResponse.from);
  }

  /** One lease. */
  @Get('environment-leases/:leaseId')
  @Access('members:read')
  @ApiOkResponse({ type: LeaseResponse })
  async get(@Param('leaseId', IdPipe) leaseId: string): Promise<LeaseResponse> {
    return LeaseResponse.from(await this.leases.require(leaseId));
  }

  /** Notes things with an active lease. */
  @Patch('environment-leases/:leaseId')
  @Access('members:write')
  @ApiOkResponse({ type: LeaseResponse })
  @ApiForbiddenResponse(NOT_YOURS)
  @ApiGoneResponse(NOT_HELD)
  async patch(@Param('leaseId', IdPipe) leaseId: string, @Body() body: PatchLeaseDto): Promise<LeaseResponse> {
    return LeaseResponse.from(await this.leases.patchMetadata(leaseId, body.metadata, body.fencingToken));
  }

  /** Extends a lease that has not expired. */
  @Post('environment-leases/:leaseId/renew')
  @Access('members:write')
  @HttpCode(200)
  @ApiOkResponse({ type: LeaseResponse })
  @ApiForbiddenResponse(NOT_YOURS)
  @ApiGoneResponse(NOT_HELD)
  async renew(@Param('leaseId', IdPipe) leaseId: string, @Body() body: RenewLeaseDto): Promise<LeaseResponse> {
    return LeaseResponse.from(await this.leases.renew(leaseId, body.ttlSec ?? null, body.fencingToken));
  }
}
