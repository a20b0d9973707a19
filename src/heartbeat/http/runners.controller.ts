import { Controller, Get, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { Access } from '../../auth/access.decorator.js';
import type { Page } from '../../database/page.js';
import { ApiPage } from '../../http/api-page.decorator.js';
import { RunnersService } from '../runs/runners.service.js';
import { RunnerQueryDto, RunnerResponse } from './runner.dto.js';

@ApiTags('Admin')
@Controller('admin/runners')
export class RunnersController {
  constructor(private readonly runners: RunnersService) {}

  /** The processes that execute runs, or did in the last 30 days; newest first. */
  @Get()
  @Access('instance:read')
  @ApiPage(RunnerResponse)
  list(@Query() query: RunnerQueryDto): Promise<Page<RunnerResponse>> {
    return this.runners.list(query);
  }
}
