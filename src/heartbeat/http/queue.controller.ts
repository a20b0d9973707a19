import { Controller, Get, Query } from '@nestjs/common';
import { ApiForbiddenResponse, ApiTags } from '@nestjs/swagger';
import { OperatorOnly } from '../../auth/operator-only.js';
import type { Page } from '../../database/page.js';
import { ApiPage } from '../../http/api-page.decorator.js';
import { QueueService } from '../waiting/queue.service.js';
import { QueueEntryResponse, QueueQueryDto } from './queue.dto.js';

@ApiTags('Admin')
@OperatorOnly()
@Controller('admin/queue')
export class QueueController {
  constructor(private readonly queue: QueueService) {}

  /** Everything that waits, and why; the longest waiting first. */
  @Get()
  @ApiPage(QueueEntryResponse)
  @ApiForbiddenResponse({ description: '`operator_only`' })
  list(@Query() query: QueueQueryDto): Promise<Page<QueueEntryResponse>> {
    return this.queue.list(query);
  }
}
