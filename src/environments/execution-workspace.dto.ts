import { ApiProperty } from '@nestjs/swagger';
import { IsIn, IsObject, IsOptional, IsString, IsUUID, Length, MaxLength, ValidateBy } from 'class-validator';
import type { RowOf } from '../database/entity-rows.js';
import { DIRECTORY_PATH, isDirectoryPath } from './directory-path.js';
import { IfGiven } from '../http/if-given.js';
import { MaxJsonBytes } from '../http/max-json-bytes.js';
import {
  WORKSPACE_MODES,
  WORKSPACE_STATUSES,
  type ExecutionWorkspace,
  type WorkspaceMode,
  type WorkspaceStatus,
} from './execution-workspace.entity.js';

const IsDirectoryPath = () =>
  ValidateBy({
    name: 'isDirectoryPath',
    validator: { validate: isDirectoryPath, defaultMessage: () => `$property ${DIRECTORY_PATH}` },
  });

export class CreateWorkspaceDto {
  /** Where it is. */
  @IsUUID()
  environmentId: string;

  /**
   * Unique within the company.
   * @example "website checkout"
   */
  @IsString()
  @Length(1, 200)
  name: string;

  /** Whether several runs may use it at once; fixed from then on. */
  @IfGiven()
  @IsIn(WORKSPACE_MODES)
  @ApiProperty({ enum: WORKSPACE_MODES, required: false, default: 'shared' })
  mode?: WorkspaceMode;

  /**
   * Absolute path of its directory in the environment.
   * @example "/srv/website"
   */
  @IsString()
  @MaxLength(4096)
  @IsDirectoryPath()
  cwd: string;

  /**
   * The id of the only host that has the directory; null for any. Unless given, that of this server where the environment
   * is local and the server executes runs itself.
   */
  @IsOptional()
  @IsString()
  @Length(1, 300)
  host?: string | null;

  /** Whatever its owner wants to keep with it. */
  @IfGiven()
  @IsObject()
  @MaxJsonBytes(65_536)
  metadata?: Record<string, unknown>;
}

export class UpdateWorkspaceDto {
  /** Unique within the company. */
  @IfGiven()
  @IsString()
  @Length(1, 200)
  name?: string;

  /** Absolute path of its directory in the environment; runs that are under way stay where they are. */
  @IfGiven()
  @IsString()
  @MaxLength(4096)
  @IsDirectoryPath()
  cwd?: string;

  /** An archived one is kept for the record. */
  @IfGiven()
  @IsIn(WORKSPACE_STATUSES)
  @ApiProperty({ enum: WORKSPACE_STATUSES, required: false })
  status?: WorkspaceStatus;

  /** The id of the only host that has the directory; null for any. */
  @IsOptional()
  @IsString()
  @Length(1, 300)
  host?: string | null;

  /** Whatever its owner wants to keep with it. */
  @IfGiven()
  @IsObject()
  @MaxJsonBytes(65_536)
  metadata?: Record<string, unknown>;
}

export class WorkspaceResponse {
  id: string;
  companyId: string;
  environmentId: string;
  name: string;
  @ApiProperty({ enum: WORKSPACE_MODES })
  mode: WorkspaceMode;
  cwd: string;
  /** The machine that its directory is on, where the environment is local. */
  host: string | null;
  @ApiProperty({ enum: WORKSPACE_STATUSES })
  status: WorkspaceStatus;
  metadata: Record<string, unknown>;
  createdAt: Date;
  updatedAt: Date;

  static from(workspace: RowOf<ExecutionWorkspace>): WorkspaceResponse {
    return {
      id: workspace.id,
      companyId: workspace.companyId,
      environmentId: workspace.environmentId,
      name: workspace.name,
      mode: workspace.mode,
      cwd: workspace.cwd,
      host: workspace.host ?? null,
      status: workspace.status,
      metadata: workspace.metadata,
      createdAt: workspace.createdAt,
      updatedAt: workspace.updatedAt,
    };
  }
}
