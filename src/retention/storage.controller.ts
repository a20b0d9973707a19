import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { Access } from '../auth/access.decorator.js';
import { StorageResponse } from './storage.dto.js';
import { StorageService } from './storage.service.js';

@ApiTags('Admin')
@Controller('admin/storage')
export class StorageController {
  constructor(private readonly storage: StorageService) {}

  /** How much there is of everything that grows, how long it stays, what is due to go, and what came of the last pass. */
  @Get()
  @Access('instance:read')
  @ApiOkResponse({ type: StorageResponse })
  async show(): Promise<StorageResponse> {
    return StorageResponse.from(await this.storage.read());
  }
}
