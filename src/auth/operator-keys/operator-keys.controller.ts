import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiCreatedResponse, ApiNoContentResponse, ApiNotFoundResponse, ApiTags } from '@nestjs/swagger';
import type { Page } from '../../database/page.js';
import { ApiPage } from '../../http/api-page.decorator.js';
import { IdPipe } from '../../http/id.pipe.js';
import { Idempotent } from '../../http/idempotent.decorator.js';
import { PageQueryDto } from '../../http/page-query.dto.js';
import { Access } from '../access.decorator.js';
import { CreatedOperatorKeyResponse, CreateOperatorKeyDto, OperatorKeyResponse } from './operator-keys.dto.js';
import { OperatorKeysService } from './operator-keys.service.js';

@ApiTags('Admin')
@Controller('board-api-keys')
export class OperatorKeysController {
  constructor(private readonly keys: OperatorKeysService) {}

  /** The keys of operators, newest first, without their secrets. */
  @Get()
  @Access('instance:read')
  @ApiPage(OperatorKeyResponse)
  async list(@Query() query: PageQueryDto): Promise<Page<OperatorKeyResponse>> {
    return (await this.keys.list(query)).map(OperatorKeyResponse.from);
  }

  /**
   * Makes a key of an operator, for the whole instance or for named companies, full or read-only. Its token is shown in
   * this answer only, and not in the answer to a repeated request.
   */
  @Post()
  @Access('instance:write')
  @Idempotent(['token'])
  @ApiCreatedResponse({ type: CreatedOperatorKeyResponse })
  @ApiNotFoundResponse({ description: '`not_found`: there is no such company' })
  async create(@Body() body: CreateOperatorKeyDto): Promise<CreatedOperatorKeyResponse> {
    const { key, token } = await this.keys.create(body);
    return { ...OperatorKeyResponse.from(key), token };
  }

  /** Revokes a key of an operator, also one's own. */
  @Delete(':keyId')
  @Access('instance:write')
  @HttpCode(204)
  @ApiNoContentResponse()
  async revoke(@Param('keyId', IdPipe) keyId: string): Promise<void> {
    await this.keys.revoke(keyId);
  }
}
