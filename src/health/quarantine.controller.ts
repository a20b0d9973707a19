import { Controller, Get, HttpCode, Post } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { Access } from '../auth/access.decorator.js';
import { Quarantine } from '../database/restore/quarantine.js';
import { QuarantineStateResponse } from './health.dto.js';

@ApiTags('Admin')
@Controller('admin/quarantine')
export class QuarantineController {
  constructor(private readonly quarantine: Quarantine) {}

  /** Whether the database counts as restored, so that nothing is reaped or taken down until an operator confirms it. */
  @Get()
  @Access('instance:read')
  @ApiOkResponse({ type: QuarantineStateResponse })
  async show(): Promise<QuarantineStateResponse> {
    return { quarantine: await this.quarantine.state() };
  }

  /**
   * Ends the quarantine: expired leases are reaped and places taken down again, in every process within about a second.
   * Look first at what the record holds that is not true any more. Harmless when there is no quarantine.
   */
  @Post('confirm')
  @Access('instance:write')
  @HttpCode(200)
  @ApiOkResponse({ type: QuarantineStateResponse })
  async confirm(): Promise<QuarantineStateResponse> {
    await this.quarantine.confirm();
    return { quarantine: null };
  }
}
