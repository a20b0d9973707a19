import { Injectable } from '@nestjs/common';
import { RequestContext } from '@mikro-orm/core';
import { EntityManager } from '@mikro-orm/postgresql';
import { IssueCommentsService } from '../../issues/issue-comments.service.js';
import type { ClaimedRun } from '../runs/claimed-run.js';

/** How much of the comments that woke a run it is told directly; it can read all of them by their ids. */
const MAX_COMMENTS = 8;
const MAX_COMMENT_LENGTH = 4000;
const MAX_LENGTH = 12_000;

/** Tells a run what woke it, beyond single variables. */
@Injectable()
export class WakePayloads {
  constructor(
    private readonly em: EntityManager,
    private readonly comments: IssueCommentsService,
  ) {}

  /** @returns null where there is nothing to tell. */
  async of({ companyId, contextSnapshot: context }: ClaimedRun): Promise<Record<string, unknown> | null> {
    const { payload, issueId, wakeCommentIds, wakeReasons } = context;
    if (!payload && !issueId) return null;
    const comments = issueId ? await this.inlined(companyId, issueId, wakeCommentIds ?? []) : [];
    return {
      ...(payload as Record<string, unknown> | undefined),
      ...(issueId ? { issueId } : {}),
      ...(wakeCommentIds ? { wakeCommentIds } : {}),
      ...(wakeReasons ? { wakeReasons } : {}),
      ...(comments.length > 0 ? { comments } : {}),
    };
  }

  /** The latest comments, in order, each and all together cut to what fits. */
  private async inlined(companyId: string, issueId: string, ids: string[]) {
    const latest = await RequestContext.create(this.em, () =>
      this.comments.byIds(companyId, issueId, ids.slice(-MAX_COMMENTS)),
    );
    let room = MAX_LENGTH;
    const inlined = latest.toReversed().map((comment) => {
      const body = comment.body.slice(0, Math.min(MAX_COMMENT_LENGTH, room));
      room -= body.length;
      const { id, authorType, authorAgentId, createdAt } = comment;
      return {
        id,
        authorType,
        authorAgentId: authorAgentId ?? null,
        createdAt,
        body,
        truncated: body !== comment.body,
      };
    });
    return inlined.reverse();
  }
}
