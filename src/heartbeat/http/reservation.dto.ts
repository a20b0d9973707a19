import { IsInt, IsObject, IsString, IsUUID, Length, Max, Min } from 'class-validator';
import { IfGiven } from '../../http/if-given.js';
import { MaxJsonBytes } from '../../http/max-json-bytes.js';

/** What is to be held, by whom, and how long that is waited for. */
export class AcquireLeaseDto {
  /** Where. */
  @IsUUID()
  environmentId: string;

  /**
   * Who holds it, in a word that others understand. A reservation needs one; a further lease of a run is the run's unless
   * given.
   * @example "nightly backup"
   */
  @IfGiven()
  @IsString()
  @Length(1, 200)
  holder?: string;

  /**
   * Makes it a further lease of this running run, which ends with it at the latest; operators only. An agent that shows
   * its run's token asks for that run, and may leave it out.
   */
  @IfGiven()
  @IsUUID()
  heartbeatRunId?: string;

  /** A workspace of that environment to be held with it; an exclusive one is then nobody else's. */
  @IfGiven()
  @IsUUID()
  executionWorkspaceId?: string;

  /**
   * How long it lasts unless it is renewed, in seconds: the server's own lease time unless given. A further lease of a run
   * lasts as long as the run does unless given.
   * @example 60
   */
  @IfGiven()
  @IsInt()
  @Min(1)
  @Max(86_400)
  ttlSec?: number;

  /**
   * Whatever its holder wants to note with it.
   * @example { "ticket": "OPS-17" }
   */
  @IfGiven()
  @IsObject()
  @MaxJsonBytes(65_536)
  metadata?: Record<string, unknown>;

  /**
   * How long to wait for it, in seconds; 0 for not at all. Who waits keeps the connection open; many clients close it by
   * themselves after some minutes, so ask for less than that, and again.
   * @example 30
   */
  @IfGiven()
  @IsInt()
  @Min(0)
  @Max(3600)
  waitSec?: number;
}
