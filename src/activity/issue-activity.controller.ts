import { Controller, Get, Param, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { Access } from '../auth/access.decorator.js';
import type { Page } from '../database/page.js';
import { ApiPage } from '../http/api-page.decorator.js';
import { PageQueryDto } from '../http/page-query.dto.js';
import { ActivityResponse } from './activity.dto.js';
import { ActivityService } from './activity.service.js';

@ApiTags('Activity')
@Controller('issues/:idOrIdentifier/activity')
export class IssueActivityController {
  constructor(private readonly activity: ActivityService) {}

  /** What happened to an issue, newest first. */
  @Get()
  @Access('members:read')
  @ApiPage(ActivityResponse)
  async list(
    @Param('idOrIdentifier') reference: string,
    @Query() query: PageQueryDto,
  ): Promise<Page<ActivityResponse>> {
    return (await this.activity.listOfIssue(reference, query)).map((entry) => ActivityResponse.from(entry));
  }
}
