import { DomainEvent, RegisterEvent } from '../events/domain-event.js';
import type { IssueStatus } from './issue.entity.js';

/** Which issue an event is about. */
export interface IssueReference {
  readonly companyId: string;
  readonly id: string;
  readonly identifier: string;
}

abstract class IssueEvent extends DomainEvent {
  readonly companyId: string;
  readonly issueId: string;
  readonly subject: { type: string; id: string };
  private readonly identifier: string;

  constructor({ companyId, id, identifier }: IssueReference) {
    super();
    this.companyId = companyId;
    this.issueId = id;
    this.identifier = identifier;
    this.subject = { type: 'issue', id };
  }

  override details(): Record<string, unknown> {
    return { identifier: this.identifier };
  }
}

@RegisterEvent
export class IssueCreated extends IssueEvent {
  static override readonly wireName = 'issue.created';
  static override readonly action = 'issue.created';
}

/** Its text, priority or place changed; status and assignee have events of their own. */
@RegisterEvent
export class IssueUpdated extends IssueEvent {
  static override readonly wireName = 'issue.updated';
  static override readonly action = 'issue.updated';

  constructor(
    issue: IssueReference,
    private readonly fields: readonly string[],
  ) {
    super(issue);
  }

  override details(): Record<string, unknown> {
    return { ...super.details(), fields: this.fields };
  }
}

@RegisterEvent
export class IssueStatusChanged extends IssueEvent {
  static override readonly wireName = 'issue.status_changed';
  static override readonly action = 'issue.status_changed';

  constructor(
    issue: IssueReference,
    readonly from: IssueStatus,
    readonly to: IssueStatus,
  ) {
    super(issue);
  }

  override details(): Record<string, unknown> {
    return { ...super.details(), from: this.from, to: this.to };
  }
}

/** An agent was given the issue, when it was made or later. */
@RegisterEvent
export class IssueAssigned extends IssueEvent {
  static override readonly wireName = 'issue.assigned';
  static override readonly action = 'issue.assigned';
  override readonly agentId: string;

  constructor(
    issue: IssueReference,
    readonly assigneeAgentId: string,
  ) {
    super(issue);
    this.agentId = assigneeAgentId;
  }

  override details(): Record<string, unknown> {
    return { ...super.details(), assigneeAgentId: this.assigneeAgentId };
  }
}

/** Nobody has the issue any more. */
@RegisterEvent
export class IssueUnassigned extends IssueEvent {
  static override readonly wireName = 'issue.unassigned';
  static override readonly action = 'issue.unassigned';
  override readonly agentId: string;

  constructor(
    issue: IssueReference,
    readonly formerAgentId: string,
  ) {
    super(issue);
    this.agentId = formerAgentId;
  }
}

@RegisterEvent
export class IssueDeleted extends IssueEvent {
  static override readonly wireName = 'issue.deleted';
  static override readonly action = 'issue.deleted';
}

/** `agentId` and `runId` are its author's, null where the author is no agent or acts for no run. */
@RegisterEvent
export class IssueCommented extends IssueEvent {
  static override readonly wireName = 'issue.comment_added';
  static override readonly action = 'issue.comment_added';
  override readonly agentId: string | null;
  override readonly runId: string | null;

  constructor(
    issue: IssueReference,
    readonly commentId: string,
    author: { agentId: string | null; runId: string | null },
  ) {
    super(issue);
    this.agentId = author.agentId;
    this.runId = author.runId;
  }

  /** The agent that wrote it, if an agent did. */
  get authorAgentId(): string | null {
    return this.agentId;
  }

  override details(): Record<string, unknown> {
    return { ...super.details(), commentId: this.commentId };
  }
}
