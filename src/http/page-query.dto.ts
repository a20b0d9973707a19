import { ApiProperty } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import { IsInt, IsOptional, IsString, Max, MaxLength, Min } from 'class-validator';
import { MAX_PAGE } from '../database/page.js';

/** Base of list queries whose `limit` has its own highest value. */
export abstract class CursorQueryDto {
  /** Where the page starts: taken from the `Link` header of the page before. */
  @IsOptional()
  @IsString()
  @MaxLength(1000)
  cursor?: string;
}

/** What every list takes: how many rows, and after which. */
export class PageQueryDto extends CursorQueryDto {
  /** How many rows to answer at most. */
  @IsOptional()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(MAX_PAGE)
  @ApiProperty({ required: false, maximum: MAX_PAGE })
  limit: number = MAX_PAGE;
}
