import { ApiProperty } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import { IsBoolean, IsIn, IsInt, IsString, IsUUID, Length, Max, MaxLength, Min } from 'class-validator';
import type { RowOf } from '../../database/entity-rows.js';
import { IfGiven } from '../../http/if-given.js';
import { PageQueryDto } from '../../http/page-query.dto.js';
import { PLACE_STATES, type EnvironmentPlace, type PlaceState } from './environment-place.entity.js';

/** Longest that a place can be kept from now on, in seconds: 30 days. */
const MAX_KEEP_SEC = 2_592_000;

export class PlaceQueryDto extends PageQueryDto {
  /** Only places in this state. */
  @IfGiven()
  @IsIn(PLACE_STATES)
  @ApiProperty({ enum: PLACE_STATES, required: false })
  state?: PlaceState;

  /** Only places of this environment. */
  @IfGiven()
  @IsUUID()
  environmentId?: string;

  /** Only places that can be reached from this host alone. */
  @IfGiven()
  @IsString()
  @MaxLength(200)
  host?: string;

  /** `true`: only places that are left as they are, because taking them down failed too often. */
  @IfGiven()
  @Transform(({ value }: { value: unknown }) => (value === 'true' ? true : value === 'false' ? false : value))
  @IsBoolean()
  parked?: boolean;
}

export class ExtendPlaceDto {
  /**
   * How long it is kept from now on, in seconds; also less than before.
   * @example 86400
   */
  @IsInt()
  @Min(1)
  @Max(MAX_KEEP_SEC)
  keepSec: number;
}

export class ForgetDto {
  /**
   * Why it is certain that it is gone, for the record.
   * @example 'The machine was taken out of the rack'
   */
  @IsString()
  @Length(1, 500)
  reason: string;
}

export class EnvironmentPlaceResponse {
  id: string;
  companyId: string;
  environmentId: string;
  executionWorkspaceId: string | null;
  /** The lease that holds it, or held it last. */
  leaseId: string;
  /**
   * `realising`: being made. `in_use`: by its lease. `warm`: waits for its next holder. `retained`: kept after a failure.
   * `cleaning`: to be taken down. `gone`: it has been. Until then it holds its lease's slot.
   */
  @ApiProperty({ enum: PLACE_STATES })
  state: PlaceState;
  driver: string;
  /** The next holder has to execute by the same. */
  adapterType: string | null;
  /** Of driver and config: the next holder has to find the same. */
  configFingerprint: string;
  /** The only host that can take it down; null where any can. */
  host: string | null;
  /** All that taking it down needs, as it was when it was made. */
  facts: Record<string, unknown>;
  /** The driver's own name for it, once it was made. */
  providerLeaseId: string | null;
  /** Until when somebody may still be making it: before, that it is not there proves nothing. */
  realiseDeadlineAt: Date;
  /** Until when it is kept, while it is warm or retained. */
  keepUntil: Date | null;
  /** How often it was tried to take it down. */
  attempts: number;
  /** When that is tried next, while it is to be taken down. */
  nextAttemptAt: Date | null;
  /** Why the last attempt failed. */
  lastError: string | null;
  /** Since when it is left as it is, because that failed too often; see `retry-clean-up`. */
  parkedAt: Date | null;
  goneAt: Date | null;
  createdAt: Date;
  updatedAt: Date;

  static from(place: RowOf<EnvironmentPlace>): EnvironmentPlaceResponse {
    return {
      id: place.id,
      companyId: place.companyId,
      environmentId: place.environmentId,
      executionWorkspaceId: place.executionWorkspaceId ?? null,
      leaseId: place.leaseId,
      state: place.state,
      driver: place.driver,
      adapterType: place.adapterType ?? null,
      configFingerprint: place.configFingerprint,
      host: place.host ?? null,
      facts: place.facts,
      providerLeaseId: place.providerLeaseId ?? null,
      realiseDeadlineAt: place.realiseDeadlineAt,
      keepUntil: place.keepUntil ?? null,
      attempts: place.attempts,
      nextAttemptAt: place.nextAttemptAt ?? null,
      lastError: place.lastError ?? null,
      parkedAt: place.parkedAt ?? null,
      goneAt: place.goneAt ?? null,
      createdAt: place.createdAt,
      updatedAt: place.updatedAt,
    };
  }
}
