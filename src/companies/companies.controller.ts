import { Body, Controller, Get, HttpCode, Param, Patch, Post, Query } from '@nestjs/common';
import {
  ApiConflictResponse,
  ApiCreatedResponse,
  ApiOkResponse,
  ApiTags,
  ApiUnprocessableEntityResponse,
} from '@nestjs/swagger';
import { Access } from '../auth/access.decorator.js';
import type { Page } from '../database/page.js';
import { ApiPage } from '../http/api-page.decorator.js';
import { IdPipe } from '../http/id.pipe.js';
import { Idempotent } from '../http/idempotent.decorator.js';
import { PageQueryDto } from '../http/page-query.dto.js';
import { CompaniesService } from './companies.service.js';
import { CompanyResponse, CreateCompanyDto, UpdateCompanyDto } from './company.dto.js';

@ApiTags('Companies')
@Controller('companies')
export class CompaniesController {
  constructor(private readonly companies: CompaniesService) {}

  /** Companies, newest first: those that the caller can see. */
  @Get()
  @Access('members:read')
  @ApiPage(CompanyResponse)
  async list(@Query() query: PageQueryDto): Promise<Page<CompanyResponse>> {
    return (await this.companies.list(query)).map(CompanyResponse.from);
  }

  /** Makes a company. */
  @Post()
  @Access('instance:write')
  @Idempotent()
  @ApiCreatedResponse({ type: CompanyResponse })
  @ApiConflictResponse({ description: '`issue_prefix_taken`' })
  async create(@Body() body: CreateCompanyDto): Promise<CompanyResponse> {
    return CompanyResponse.from(await this.companies.create(body));
  }

  /** One company. */
  @Get(':companyId')
  @Access('members:read')
  @ApiOkResponse({ type: CompanyResponse })
  async get(@Param('companyId', IdPipe) companyId: string): Promise<CompanyResponse> {
    return CompanyResponse.from(await this.companies.require(companyId));
  }

  /** Changes the fields that are given. */
  @Patch(':companyId')
  @Access('operators:write')
  @ApiOkResponse({ type: CompanyResponse })
  @ApiUnprocessableEntityResponse({ description: '`environment_not_found`, `environment_archived`' })
  async update(
    @Param('companyId', IdPipe) companyId: string,
    @Body() body: UpdateCompanyDto,
  ): Promise<CompanyResponse> {
    return CompanyResponse.from(await this.companies.update(companyId, body));
  }

  /** Archives a company: it takes no new wakes, what runs ends by itself. */
  @Post(':companyId/archive')
  @Access('operators:write')
  @HttpCode(200)
  @ApiOkResponse({ type: CompanyResponse })
  async archive(@Param('companyId', IdPipe) companyId: string): Promise<CompanyResponse> {
    return CompanyResponse.from(await this.companies.archive(companyId));
  }
}
