import { DomainEvent, RegisterEvent } from '../events/domain-event.js';
import { isOpenStatus, type IssueStatus } from './issue.entity.js';

/** Which issue an event is about. */
export interface IssueReference {
  readonly companyId: string;
  readonly id: string;
  readonly identifier: string;
}

/** The same, with what decides whether somebody is woken for it. */
export interface IssueState extends IssueReference {
  readonly status: IssueStatus;
  readonly assigneeAgentId?: string | null;
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

/** Something that may wake agents, with the issue as it was when it happened. */
abstract class WakingIssueEvent extends IssueEvent {
  readonly issueStatus: IssueStatus;
  readonly assigneeAgentId: string | null;

  constructor(issue: IssueState) {
    super(issue);
    this.issueStatus = issue.status;
    this.assigneeAgentId = issue.assigneeAgentId ?? null;
  }

  /** Whether work on the issue can still be wanted. */
  get isOpen(): boolean {
    return isOpenStatus(this.issueStatus);
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

/** Work on it is wanted again: it was done or cancelled, and is open now. Told after its `IssueStatusChanged`. */
@RegisterEvent
export class IssueReopened extends WakingIssueEvent {
  static override readonly wireName = 'issue.reopened';
  static override readonly action = 'issue.reopened';
  override readonly agentId = this.assigneeAgentId;

  override details(): Record<string, unknown> {
    return { ...super.details(), assigneeAgentId: this.assigneeAgentId };
  }
}

/** An agent was given the issue, when it was made or later, whatever the issue's status. */
@RegisterEvent
export class IssueAssigned extends WakingIssueEvent {
  static override readonly wireName = 'issue.assigned';
  static override readonly action = 'issue.assigned';
  declare readonly assigneeAgentId: string;
  override readonly agentId: string;

  constructor(issue: IssueState & { readonly assigneeAgentId: string }) {
    super(issue);
    this.agentId = issue.assigneeAgentId;
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

/** What an event says of a comment. */
export interface CommentReference {
  readonly id: string;
  readonly authorAgentId?: string | null;
  readonly createdByRunId?: string | null;
}

/** `agentId` and `runId` are its author's, null where the author is no agent or acts for no run. */
@RegisterEvent
export class IssueCommented extends WakingIssueEvent {
  static override readonly wireName = 'issue.comment_added';
  static override readonly action = 'issue.comment_added';
  readonly commentId: string;
  override readonly agentId: string | null;
  override readonly runId: string | null;
  readonly mentionedAgentIds: readonly string[];
  readonly isResult: boolean;

  /**
   * @param mentionedAgentIds agents that it calls by name, in the order of their mention, its author left out.
   * @param isResult whether Berth left it as the result of a run that ended: it wakes nobody, and nobody is held for it.
   */
  constructor(
    issue: IssueState,
    comment: CommentReference,
    { mentionedAgentIds, isResult }: { mentionedAgentIds: readonly string[]; isResult: boolean },
  ) {
    super(issue);
    this.commentId = comment.id;
    this.agentId = comment.authorAgentId ?? null;
    this.runId = comment.createdByRunId ?? null;
    this.mentionedAgentIds = mentionedAgentIds;
    this.isResult = isResult;
  }

  /** The agent that wrote it, if an agent did. */
  get authorAgentId(): string | null {
    return this.agentId;
  }

  override details(): Record<string, unknown> {
    return { ...super.details(), commentId: this.commentId, mentionedAgentIds: this.mentionedAgentIds };
  }
}
