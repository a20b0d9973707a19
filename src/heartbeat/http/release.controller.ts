import { Body, Controller, HttpCode, Param, Post } from '@nestjs/common';
import { ApiConflictResponse, ApiForbiddenResponse, ApiGoneResponse, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { Access } from '../../auth/access.decorator.js';
import { IdPipe } from '../../http/id.pipe.js';
import { LeaseResponse, ReleaseLeaseDto } from '../../leases/lease.dto.js';
import { ReleaseService } from '../ending/release.service.js';

@ApiTags('Leases')
@ApiForbiddenResponse({
  description: '`operator_only`, `fencing_token_required`, `other_runs_lease`, `other_agents_run`',
})
@ApiConflictResponse({ description: '`lease_held_by_run`' })
@Controller()
export class ReleaseController {
  constructor(private readonly releases: ReleaseService) {}

  /** Releases a lease. The lease of a running run only with `force`, by an operator: the run ends with it. */
  @Post('environment-leases/:leaseId/release')
  @Access('members:write')
  @HttpCode(200)
  @ApiOkResponse({ type: LeaseResponse })
  @ApiGoneResponse({ description: '`lease_lost`' })
  async release(@Param('leaseId', IdPipe) leaseId: string, @Body() body: ReleaseLeaseDto): Promise<LeaseResponse> {
    const { reason = null, fencingToken, force = false } = body;
    return LeaseResponse.from(await this.releases.release(leaseId, { reason, fencingToken, force }));
  }

  /** Releases all leases of a run; while it is running only with `force`, by an operator: the run ends with them. */
  @Post('heartbeat-runs/:runId/leases/release')
  @Access('members:write')
  @HttpCode(200)
  @ApiOkResponse({ type: LeaseResponse, isArray: true })
  async releaseAll(@Param('runId', IdPipe) runId: string, @Body() body: ReleaseLeaseDto): Promise<LeaseResponse[]> {
    const { reason = null, force = false } = body;
    return (await this.releases.releaseAllOf(runId, { reason, force })).map(LeaseResponse.from);
  }
}
