import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiServiceUnavailableResponse, ApiTags } from '@nestjs/swagger';
import { Access } from '../../auth/access.decorator.js';
import { BerthConfig } from '../../config/config.js';
import { RecordTooLargeError } from './verify-errors.js';
import { verifyRecord } from './verify-record.js';
import { VerifyResponse } from './verify.dto.js';

/** How long a request waits for one query. */
const STATEMENT_SEC = 60;
const CANCELLED = '57014';

@ApiTags('Admin')
@Controller('admin/verify')
export class VerifyController {
  constructor(private readonly config: BerthConfig) {}

  /**
   * Checks the record against the state: whether everything is as the last entry about it says, and whether what holds
   * slots, workspaces and places agrees. It reads everything once and changes nothing; the rest goes on meanwhile.
   */
  @Get()
  @Access('instance:read')
  @ApiOkResponse({ type: VerifyResponse })
  @ApiServiceUnavailableResponse({ description: '`record_too_large`: use `npm run verify`, which may take longer' })
  async verify(): Promise<VerifyResponse> {
    try {
      return VerifyResponse.from(await verifyRecord(this.config.databaseUrl!, STATEMENT_SEC));
    } catch (error) {
      if ((error as { code?: unknown }).code === CANCELLED) throw new RecordTooLargeError(STATEMENT_SEC);
      throw error;
    }
  }
}
