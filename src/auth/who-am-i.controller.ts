import { Controller, Get } from '@nestjs/common';
import { ApiBearerAuth, ApiOkResponse, ApiTags, ApiUnauthorizedResponse } from '@nestjs/swagger';
import { currentActor } from '../events/request-scope.js';
import { WhoAmIResponse } from './who-am-i.dto.js';

@ApiTags('Auth')
@ApiBearerAuth()
@Controller('cli-auth')
export class WhoAmIController {
  /** Who am I: the operator, or the agent whose token was shown. */
  @Get('me')
  @ApiOkResponse({ type: WhoAmIResponse })
  @ApiUnauthorizedResponse({ description: 'The token is unknown, revoked, or outlived its run' })
  me(): WhoAmIResponse {
    return WhoAmIResponse.from(currentActor());
  }
}
