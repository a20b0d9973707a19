import { Body, Controller, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiConflictResponse, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { Access } from '../../auth/access.decorator.js';
import type { Page } from '../../database/page.js';
import { ApiPage } from '../../http/api-page.decorator.js';
import { IdPipe } from '../../http/id.pipe.js';
import { EnvironmentPlaceResponse, ExtendPlaceDto, ForgetDto, PlaceQueryDto } from './environment-place.dto.js';
import { EnvironmentPlacesService } from './environment-places.service.js';

const WRONG_STATE = { description: '`place_state`: it is not in a state for that; the details say in which it is' };

@ApiTags('Places')
@Controller()
export class EnvironmentPlacesController {
  constructor(private readonly places: EnvironmentPlacesService) {}

  /** What drivers made for a company's leases, newest first; also what is gone. */
  @Get('companies/:companyId/environment-places')
  @Access('members:read')
  @ApiPage(EnvironmentPlaceResponse)
  async list(
    @Param('companyId', IdPipe) companyId: string,
    @Query() query: PlaceQueryDto,
  ): Promise<Page<EnvironmentPlaceResponse>> {
    return (await this.places.ofCompany(companyId, query)).map(EnvironmentPlaceResponse.from);
  }

  /** One place. */
  @Get('environment-places/:id')
  @Access('members:read')
  @ApiOkResponse({ type: EnvironmentPlaceResponse })
  async get(@Param('id', IdPipe) id: string): Promise<EnvironmentPlaceResponse> {
    return EnvironmentPlaceResponse.from(await this.places.require(id));
  }

  /** Keeps a warm or retained place for longer, or for less long. It holds its slot that long. */
  @Post('environment-places/:id/extend')
  @Access('operators:write')
  @HttpCode(200)
  @ApiOkResponse({ type: EnvironmentPlaceResponse })
  @ApiConflictResponse(WRONG_STATE)
  async extend(@Param('id', IdPipe) id: string, @Body() body: ExtendPlaceDto): Promise<EnvironmentPlaceResponse> {
    return EnvironmentPlaceResponse.from(await this.places.extend(id, body.keepSec));
  }

  /** Has a warm or retained place taken down now. Its slot is free once it is gone. */
  @Post('environment-places/:id/release')
  @Access('operators:write')
  @HttpCode(200)
  @ApiOkResponse({ type: EnvironmentPlaceResponse })
  @ApiConflictResponse(WRONG_STATE)
  async release(@Param('id', IdPipe) id: string): Promise<EnvironmentPlaceResponse> {
    return EnvironmentPlaceResponse.from(await this.places.release(id));
  }

  /** Has taking it down tried again now: what waits for its next attempt, and what is parked. */
  @Post('environment-places/:id/retry-clean-up')
  @Access('operators:write')
  @HttpCode(200)
  @ApiOkResponse({ type: EnvironmentPlaceResponse })
  @ApiConflictResponse(WRONG_STATE)
  async retryCleanUp(@Param('id', IdPipe) id: string): Promise<EnvironmentPlaceResponse> {
    return EnvironmentPlaceResponse.from(await this.places.retryCleanUp(id));
  }

  /**
   * Takes your word for it that a place is gone with its host: it counts as gone, its slot is free, and nobody takes it
   * down any more, even if the host comes back.
   */
  @Post('environment-places/:id/forget')
  @Access('operators:write')
  @HttpCode(200)
  @ApiOkResponse({ type: EnvironmentPlaceResponse })
  @ApiConflictResponse({ description: '`place_not_host_bound`, `place_state`' })
  async forget(@Param('id', IdPipe) id: string, @Body() body: ForgetDto): Promise<EnvironmentPlaceResponse> {
    return EnvironmentPlaceResponse.from(await this.places.forget(id, body.reason));
  }
}
