import { Controller, Get, Param } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { Access } from '../auth/access.decorator.js';
import { IdPipe } from '../http/id.pipe.js';
import { RetentionResponse } from './company-retention.dto.js';
import { CompanyRetentionService } from './company-retention.service.js';

@ApiTags('Companies')
@Controller('companies/:companyId/retention')
export class CompanyRetentionController {
  constructor(private readonly retention: CompanyRetentionService) {}

  /** How long what is kept, and how far back it is complete. Changed with the company. */
  @Get()
  @Access('members:read')
  @ApiOkResponse({ type: RetentionResponse })
  async show(@Param('companyId', IdPipe) companyId: string): Promise<RetentionResponse> {
    return RetentionResponse.from(await this.retention.read(companyId));
  }
}
