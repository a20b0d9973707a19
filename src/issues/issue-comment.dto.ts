import { ApiProperty } from '@nestjs/swagger';
import { IsByteLength, IsIn, IsString, IsUUID } from 'class-validator';
import type { RowOf } from '../database/entity-rows.js';
import { IfGiven } from '../http/if-given.js';
import { IgnoresClientFields } from '../http/ignored-fields.js';
import { PageQueryDto } from '../http/page-query.dto.js';
import type { CommentAuthorType, IssueComment } from './issue-comment.entity.js';

/** How long a comment may be, in bytes of UTF-8. */
export const MAX_COMMENT_BYTES = 65_536;

@IgnoresClientFields('comment')
export class CreateIssueCommentDto {
  /**
   * What is to be said, in Markdown.
   * @example "The quay is clear, go ahead."
   */
  @IsString()
  @IsByteLength(1, MAX_COMMENT_BYTES)
  body: string;
}

export class IssueCommentsQueryDto extends PageQueryDto {
  /** Answers what comes after this comment, in the order asked for. */
  @IfGiven()
  @IsUUID()
  afterCommentId?: string;

  /** Newest first unless `asc`. */
  @IsIn(['asc', 'desc'])
  @ApiProperty({ enum: ['asc', 'desc'], required: false })
  order: 'asc' | 'desc' = 'desc';
}

export class IssueCommentResponse {
  id: string;
  issueId: string;
  companyId: string;
  @ApiProperty({ enum: ['user', 'agent', 'system'] })
  authorType: CommentAuthorType;
  /** Who wrote it, if an agent did. */
  authorAgentId: string | null;
  /** The run on whose behalf it was written. */
  createdByRunId: string | null;
  body: string;
  createdAt: Date;

  static from(comment: RowOf<IssueComment>): IssueCommentResponse {
    return {
      id: comment.id,
      issueId: comment.issueId,
      companyId: comment.companyId,
      authorType: comment.authorType,
      authorAgentId: comment.authorAgentId ?? null,
      createdByRunId: comment.createdByRunId ?? null,
      body: comment.body,
      createdAt: comment.createdAt,
    };
  }
}
