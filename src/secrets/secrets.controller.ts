import { Body, Controller, Delete, Get, HttpCode, Param, Patch, Post, Query, Res } from '@nestjs/common';
import {
  ApiConflictResponse,
  ApiCreatedResponse,
  ApiNoContentResponse,
  ApiOkResponse,
  ApiServiceUnavailableResponse,
  ApiTags,
} from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { Access } from '../auth/access.decorator.js';
import type { Page } from '../database/page.js';
import { ApiPage } from '../http/api-page.decorator.js';
import { IdPipe } from '../http/id.pipe.js';
import { IdempotencyKeys } from '../http/idempotency-keys.js';
import { IdempotentOnceDone, RepeatOf } from '../http/idempotent.decorator.js';
import type { IdempotentRequest } from '../http/idempotent-request.js';
import { PageQueryDto } from '../http/page-query.dto.js';
import { SecretValues } from './secret-values.js';
import {
  CreateSecretDto,
  RotateSecretDto,
  SecretResponse,
  SecretUsageResponse,
  UpdateSecretDto,
} from './secret.dto.js';
import { SecretsService } from './secrets.service.js';

const KEY_PROBLEM = { description: '`secrets_key_mismatch`, `secrets_key_unusable`, `database_unavailable`' };

@ApiTags('Secrets')
@Controller()
export class SecretsController {
  constructor(
    private readonly secrets: SecretsService,
    private readonly values: SecretValues,
    private readonly keys: IdempotencyKeys,
  ) {}

  /** A company's secrets, newest first, without their values. */
  @Get('companies/:companyId/secrets')
  @Access('operators:read')
  @ApiPage(SecretResponse)
  async list(
    @Param('companyId', IdPipe) companyId: string,
    @Query() query: PageQueryDto,
  ): Promise<Page<SecretResponse>> {
    return (await this.secrets.list(companyId, query)).map(SecretResponse.from);
  }

  /** Keeps a secret. Agents and environments then name it where a string may stand: `{ "secretRef": "<name>" }`. */
  @Post('companies/:companyId/secrets')
  @Access('operators:write')
  @IdempotentOnceDone()
  @ApiCreatedResponse({ type: SecretResponse })
  @ApiConflictResponse({ description: '`secret_name_taken`, `company_archived`' })
  @ApiServiceUnavailableResponse(KEY_PROBLEM)
  create(
    @Param('companyId', IdPipe) companyId: string,
    @Body() body: CreateSecretDto,
    @RepeatOf() repeat: IdempotentRequest | null,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<SecretResponse> {
    return this.once(repeat, reply, async () => SecretResponse.from(await this.secrets.create(companyId, body)));
  }

  /** Changes what is known of a secret; a new value is given by `rotate`. */
  @Patch('secrets/:id')
  @Access('operators:write')
  @ApiOkResponse({ type: SecretResponse })
  @ApiConflictResponse({ description: '`secret_name_taken`' })
  async update(@Param('id', IdPipe) id: string, @Body() body: UpdateSecretDto): Promise<SecretResponse> {
    return SecretResponse.from(await this.secrets.update(id, body));
  }

  /** Gives a secret a new value. Runs that have started keep the one that they were given. */
  @Post('secrets/:id/rotate')
  @Access('operators:write')
  @HttpCode(200)
  @IdempotentOnceDone()
  @ApiOkResponse({ type: SecretResponse })
  @ApiServiceUnavailableResponse(KEY_PROBLEM)
  rotate(
    @Param('id', IdPipe) id: string,
    @Body() { value }: RotateSecretDto,
    @RepeatOf() repeat: IdempotentRequest | null,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<SecretResponse> {
    return this.once(repeat, reply, async () => SecretResponse.from(await this.secrets.rotate(id, value)));
  }

  /** Which agents and environments name a secret. */
  @Get('secrets/:id/usage')
  @Access('operators:read')
  @ApiOkResponse({ type: SecretUsageResponse })
  async usage(@Param('id', IdPipe) id: string): Promise<SecretUsageResponse> {
    return { secretId: id, bindings: await this.secrets.usage(id) };
  }

  /** Deletes a secret that nothing names, with all of its values. */
  @Delete('secrets/:id')
  @Access('operators:write')
  @HttpCode(204)
  @ApiNoContentResponse()
  @ApiConflictResponse({ description: '`secret_in_use`; the details say by what' })
  async delete(@Param('id', IdPipe) id: string): Promise<void> {
    await this.secrets.delete(id);
  }

  /** A body that has a value is kept as a hash that nobody without the key can try values against. */
  private async once<T>(repeat: IdempotentRequest | null, reply: FastifyReply, work: () => Promise<T>): Promise<T> {
    if (!repeat) return work();
    const bodyHash = await this.values.keyedHash(repeat.bodyHash);
    return this.keys.once({ ...repeat, bodyHash }, reply, work);
  }
}
