import { Controller, Get, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { Access } from '../../auth/access.decorator.js';
import type { Page } from '../../database/page.js';
import { ApiPage } from '../../http/api-page.decorator.js';
import { QueueService } from '../waiting/queue.service.js';
import { QueueEntryResponse, QueueQueryDto } from './queue.dto.js';

@ApiTags('Admin')
@Controller('admin/queue')
export class QueueController {
  constructor(private readonly queue: QueueService) {}

  /** Everything that waits, and why; the longest waiting first. */
  @Get()
  @Access('instance:read')
  @ApiPage(QueueEntryResponse)
  list(@Query() query: QueueQueryDto): Promise<Page<QueueEntryResponse>> {
    return this.queue.list(query);
  }
}
