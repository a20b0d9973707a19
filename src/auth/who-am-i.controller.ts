import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { currentActor } from '../events/request-scope.js';
import { Access } from './access.decorator.js';
import { WhoAmIResponse } from './who-am-i.dto.js';

@ApiTags('Auth')
@Controller('cli-auth')
export class WhoAmIController {
  /** Who am I: an operator, or the agent whose token was shown. */
  @Get('me')
  @Access('members:read')
  @ApiOkResponse({ type: WhoAmIResponse })
  me(): WhoAmIResponse {
    return WhoAmIResponse.from(currentActor());
  }
}
