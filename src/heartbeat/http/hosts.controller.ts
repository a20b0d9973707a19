import { Body, Controller, HttpCode, Param, Post } from '@nestjs/common';
import { ApiConflictResponse, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { Access } from '../../auth/access.decorator.js';
import { HostsService } from '../runs/hosts.service.js';
import { ForgetHostDto, ForgottenHostResponse } from './host.dto.js';

@ApiTags('Admin')
@Controller('admin/hosts')
export class HostsController {
  constructor(private readonly hosts: HostsService) {}

  /**
   * Takes your word for it that a host is gone for good: every place that only it could take down counts as gone, and the
   * slots that they held are free. Nobody takes them down any more, even if the host comes back.
   */
  @Post(':host/forget')
  @Access('instance:write')
  @HttpCode(200)
  @ApiOkResponse({ type: ForgottenHostResponse })
  @ApiConflictResponse({ description: '`host_alive`: a runner of it was heard of in the last 15 seconds' })
  forget(@Param('host') host: string, @Body() body: ForgetHostDto): Promise<ForgottenHostResponse> {
    return this.hosts.forget(host, body.reason);
  }
}
