import { Controller, Get } from '@nestjs/common';
import { ApiForbiddenResponse, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { OperatorOnly } from '../auth/operator-only.js';
import { StorageResponse } from './storage.dto.js';
import { StorageService } from './storage.service.js';

@ApiTags('Admin')
@Controller('admin/storage')
export class StorageController {
  constructor(private readonly storage: StorageService) {}

  /** How much there is of everything that grows, how long it stays, what is due to go, and what came of the last pass. */
  @Get()
  @OperatorOnly()
  @ApiOkResponse({ type: StorageResponse })
  @ApiForbiddenResponse({ description: '`operator_only`' })
  async show(): Promise<StorageResponse> {
    return StorageResponse.from(await this.storage.read());
  }
}
