import { defineEntity, p } from '@mikro-orm/core';
import { createdAtColumn, idColumn } from '../database/columns.js';

export type CommentAuthorType = 'user' | 'agent' | 'system';

const IssueCommentSchema = defineEntity({
  name: 'IssueComment',
  tableName: 'issue_comments',
  properties: {
    id: idColumn(),
    companyId: p.uuid(),
    issueId: p.uuid(),
    authorType: p.text().$type<CommentAuthorType>(),
    authorAgentId: p.uuid().nullable(),
    createdByRunId: p.uuid().nullable(),
    body: p.text(),
    createdAt: createdAtColumn(),
  },
});

export class IssueComment extends IssueCommentSchema.class {}
IssueCommentSchema.setClass(IssueComment);
