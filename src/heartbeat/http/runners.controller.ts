import { Controller, Get, Query } from '@nestjs/common';
import { ApiForbiddenResponse, ApiTags } from '@nestjs/swagger';
import { OperatorOnly } from '../../auth/operator-only.js';
import type { Page } from '../../database/page.js';
import { ApiPage } from '../../http/api-page.decorator.js';
import { RunnersService } from '../runs/runners.service.js';
import { RunnerQueryDto, RunnerResponse } from './runner.dto.js';

@ApiTags('Admin')
@OperatorOnly()
@Controller('admin/runners')
export class RunnersController {
  constructor(private readonly runners: RunnersService) {}

  /** The processes that execute runs, or did in the last 30 days; newest first. */
  @Get()
  @ApiPage(RunnerResponse)
  @ApiForbiddenResponse({ description: '`operator_only`' })
  list(@Query() query: RunnerQueryDto): Promise<Page<RunnerResponse>> {
    return this.runners.list(query);
  }
}
