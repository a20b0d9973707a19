import { ApiProperty } from '@nestjs/swagger';
import {
  ArrayMaxSize,
  ArrayNotEmpty,
  IsArray,
  IsByteLength,
  IsIn,
  IsOptional,
  IsString,
  IsUUID,
  Length,
  Matches,
} from 'class-validator';
import type { RowOf } from '../database/entity-rows.js';
import { IfGiven } from '../http/if-given.js';
import { IgnoresClientFields } from '../http/ignored-fields.js';
import { PageQueryDto } from '../http/page-query.dto.js';
import { IssueCommentResponse, MAX_COMMENT_BYTES } from './issue-comment.dto.js';
import { ISSUE_PRIORITIES, ISSUE_STATUSES, type Issue, type IssuePriority, type IssueStatus } from './issue.entity.js';

/** How long a description may be, in bytes of UTF-8. */
const MAX_DESCRIPTION_BYTES = 65_536;
const ONE_STATUS = `(${ISSUE_STATUSES.join('|')})`;
const SEVERAL_STATUSES = new RegExp(`^${ONE_STATUS}(,${ONE_STATUS})*$`);

@IgnoresClientFields('issue')
export class CreateIssueDto {
  /**
   * What is to be done, in a line.
   * @example "Clear the north quay"
   */
  @IsString()
  @Length(1, 500)
  title: string;

  /** What is to be done, at length, in Markdown. */
  @IsOptional()
  @IsString()
  @IsByteLength(0, MAX_DESCRIPTION_BYTES)
  description?: string | null;

  @IfGiven()
  @IsIn(ISSUE_STATUSES)
  @ApiProperty({ enum: ISSUE_STATUSES, required: false, default: 'todo' })
  status?: IssueStatus;

  @IfGiven()
  @IsIn(ISSUE_PRIORITIES)
  @ApiProperty({ enum: ISSUE_PRIORITIES, required: false, default: 'medium' })
  priority?: IssuePriority;

  /** The agent that shall do it; it is woken. */
  @IsOptional()
  @IsUUID()
  assigneeAgentId?: string | null;

  /** Where its runs go, before anything that the agent or the company says. */
  @IsOptional()
  @IsUUID()
  environmentId?: string | null;

  /** The directory that its runs work in. */
  @IsOptional()
  @IsUUID()
  executionWorkspaceId?: string | null;
}

@IgnoresClientFields('issue')
export class UpdateIssueDto {
  /** What is to be done, in a line. */
  @IfGiven()
  @IsString()
  @Length(1, 500)
  title?: string;

  /** What is to be done, at length, in Markdown. */
  @IsOptional()
  @IsString()
  @IsByteLength(0, MAX_DESCRIPTION_BYTES)
  description?: string | null;

  @IfGiven()
  @IsIn(ISSUE_STATUSES)
  @ApiProperty({ enum: ISSUE_STATUSES, required: false })
  status?: IssueStatus;

  @IfGiven()
  @IsIn(ISSUE_PRIORITIES)
  @ApiProperty({ enum: ISSUE_PRIORITIES, required: false })
  priority?: IssuePriority;

  /** The agent that shall do it; another one than before is woken. */
  @IsOptional()
  @IsUUID()
  assigneeAgentId?: string | null;

  /** Where its runs go, before anything that the agent or the company says. */
  @IsOptional()
  @IsUUID()
  environmentId?: string | null;

  /** The directory that its runs work in. */
  @IsOptional()
  @IsUUID()
  executionWorkspaceId?: string | null;

  /** A comment to add with the change. */
  @IfGiven()
  @IsString()
  @IsByteLength(1, MAX_COMMENT_BYTES)
  comment?: string;
}

@IgnoresClientFields('issue')
export class CheckoutIssueDto {
  /** The agent that takes it up; an agent can name itself only. */
  @IsUUID()
  agentId: string;

  /** Refused when the issue is in none of these statuses; `todo`, `backlog` or `blocked` unless given. */
  @IfGiven()
  @IsArray()
  @ArrayNotEmpty()
  @ArrayMaxSize(ISSUE_STATUSES.length)
  @IsIn(ISSUE_STATUSES, { each: true })
  @ApiProperty({ enum: ISSUE_STATUSES, isArray: true, required: false })
  expectedStatuses?: IssueStatus[];
}

@IgnoresClientFields('issueQuery')
export class IssuesQueryDto extends PageQueryDto {
  /**
   * Only issues in one of these statuses, separated by commas.
   * @example "todo,in_progress"
   */
  @IfGiven()
  @Matches(SEVERAL_STATUSES, {
    message: `status must be one or more of ${ISSUE_STATUSES.join(', ')}, with commas between`,
  })
  status?: string;

  /** Only issues of this agent. */
  @IfGiven()
  @IsUUID()
  assigneeAgentId?: string;
}

export class IssueResponse {
  id: string;
  companyId: string;
  /** What people call it: the company's prefix and its number. */
  identifier: string;
  title: string;
  description: string | null;
  @ApiProperty({ enum: ISSUE_STATUSES })
  status: IssueStatus;
  @ApiProperty({ enum: ISSUE_PRIORITIES })
  priority: IssuePriority;
  assigneeAgentId: string | null;
  environmentId: string | null;
  executionWorkspaceId: string | null;
  /** The run that works on it, or is about to. */
  executionRunId: string | null;
  createdAt: Date;
  updatedAt: Date;

  static from(issue: RowOf<Issue>): IssueResponse {
    return {
      id: issue.id,
      companyId: issue.companyId,
      identifier: issue.identifier,
      title: issue.title,
      description: issue.description ?? null,
      status: issue.status,
      priority: issue.priority,
      assigneeAgentId: issue.assigneeAgentId ?? null,
      environmentId: issue.environmentId ?? null,
      executionWorkspaceId: issue.executionWorkspaceId ?? null,
      executionRunId: issue.executionRunId ?? null,
      createdAt: issue.createdAt,
      updatedAt: issue.updatedAt,
    };
  }
}

export class UpdatedIssueResponse extends IssueResponse {
  /** The comment that came with the change, if one did. */
  comment?: IssueCommentResponse;
}
