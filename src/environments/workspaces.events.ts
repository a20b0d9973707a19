import { DomainEvent, RegisterEvent } from '../events/domain-event.js';

abstract class WorkspaceEvent extends DomainEvent {
  readonly subject: { type: string; id: string };

  constructor(
    readonly companyId: string,
    workspaceId: string,
    private readonly facts: Record<string, unknown> = {},
  ) {
    super();
    this.subject = { type: 'execution_workspace', id: workspaceId };
  }

  override details(): Record<string, unknown> {
    return { ...this.facts };
  }
}

/** `facts`: name, mode and environment. */
@RegisterEvent
export class WorkspaceCreated extends WorkspaceEvent {
  static override readonly wireName = 'workspace.created';
  static override readonly action = 'workspace.created';
}

/** `facts`: the names of the fields that changed. */
@RegisterEvent
export class WorkspaceUpdated extends WorkspaceEvent {
  static override readonly wireName = 'workspace.updated';
  static override readonly action = 'workspace.updated';
}

@RegisterEvent
export class WorkspaceArchived extends WorkspaceEvent {
  static override readonly wireName = 'workspace.archived';
  static override readonly action = 'workspace.archived';
}
