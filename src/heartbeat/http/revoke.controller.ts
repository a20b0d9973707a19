import { Body, Controller, HttpCode, Post } from '@nestjs/common';
import { ApiNotFoundResponse, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { Access } from '../../auth/access.decorator.js';
import { InvalidInputError } from '../../errors/domain-error.js';
import { RevokeService, type RevokeScope } from '../ending/revoke.service.js';
import { RevokeLeasesDto, RevokeResponse } from './revoke.dto.js';

@ApiTags('Admin')
@Controller('admin/leases')
export class RevokeController {
  constructor(private readonly revocations: RevokeService) {}

  /**
   * Ends all leases of an environment, a company, a runner or a run, or one lease: at once, or after a grace in which their
   * holders may still end by themselves. A run ends with its first lease, as `cancelled` with the code `lease_revoked`, and
   * is not retried; reservations and further leases of runs are released alone. What has ended by then, or ends sooner anyway, stays what it is, so this can be
   * repeated. New leases are still given out: drain the environment, or pause the agents, where they should not be.
   */
  @Post('revoke')
  @Access('instance:write')
  @HttpCode(200)
  @ApiOkResponse({ type: RevokeResponse })
  @ApiNotFoundResponse({ description: '`not_found`: there is no such environment, company, runner, run or lease' })
  async revoke(@Body() body: RevokeLeasesDto): Promise<RevokeResponse> {
    const [scope, id] = scopeOf(body);
    const { reason, graceSec = 0 } = body;
    const revocation = { reason: reason ?? 'An operator revoked the lease', graceSec };
    return RevokeResponse.from(await this.revocations.revoke(scope, id, revocation));
  }
}

/** @throws InvalidInputError unless exactly one is named: several could mean all of them, or what they have in common. */
function scopeOf({ environmentId, companyId, runnerId, runId, leaseId }: RevokeLeasesDto): [RevokeScope, string] {
  const ids = { environment: environmentId, company: companyId, runner: runnerId, run: runId, lease: leaseId };
  const given = Object.entries(ids).flatMap(([scope, id]) =>
    id === undefined ? [] : [[scope as RevokeScope, id] as const],
  );
  const [first, ...others] = given;
  if (first && others.length === 0) return [...first];
  const message = 'give exactly one of environmentId, companyId, runnerId, runId and leaseId';
  const fields = given.length === 0 ? ['environmentId'] : given.map(([scope]) => `${scope}Id`);
  throw new InvalidInputError(
    'It has to be said which leases',
    fields.map((field) => ({ field, message })),
  );
}
