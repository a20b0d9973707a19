import { DomainEvent, RegisterEvent } from '../../events/domain-event.js';

/** The run that a fact is about. */
export interface RunRef {
  readonly id: string;
  readonly companyId: string;
  readonly agentId: string;
}

abstract class RunEvent extends DomainEvent {
  readonly companyId: string;
  readonly subject: { type: string; id: string };
  override readonly agentId: string;
  override readonly runId: string;

  constructor(
    run: RunRef,
    private readonly facts: Record<string, unknown> = {},
  ) {
    super();
    this.companyId = run.companyId;
    this.subject = { type: 'heartbeat_run', id: run.id };
    this.agentId = run.agentId;
    this.runId = run.id;
  }

  override details(): Record<string, unknown> {
    return this.facts;
  }
}

/** A call asked an agent to run, and a run was queued for it. */
@RegisterEvent
export class HeartbeatInvoked extends RunEvent {
  static override readonly wireName = 'heartbeat.invoked';
  static override readonly action = 'heartbeat.invoked';
}

/** A run was queued by anything but a call: an assignment, a timer, a promoted wake. */
@RegisterEvent
export class HeartbeatQueued extends RunEvent {
  static override readonly wireName = 'heartbeat.queued';
  static override readonly action = 'heartbeat.queued';
}

/** A wake joined a run that had not started yet. */
@RegisterEvent
export class HeartbeatCoalesced extends RunEvent {
  static override readonly wireName = 'heartbeat.coalesced';
  static override readonly action = 'heartbeat.coalesced';
}

@RegisterEvent
export class HeartbeatStarted extends RunEvent {
  static override readonly wireName = 'heartbeat.started';
  static override readonly action = 'heartbeat.started';
}

@RegisterEvent
export class HeartbeatSucceeded extends RunEvent {
  static override readonly wireName = 'heartbeat.succeeded';
  static override readonly action = 'heartbeat.succeeded';
}

@RegisterEvent
export class HeartbeatFailed extends RunEvent {
  static override readonly wireName = 'heartbeat.failed';
  static override readonly action = 'heartbeat.failed';
}

@RegisterEvent
export class HeartbeatTimedOut extends RunEvent {
  static override readonly wireName = 'heartbeat.timed_out';
  static override readonly action = 'heartbeat.timed_out';
}

@RegisterEvent
export class HeartbeatCancelRequested extends RunEvent {
  static override readonly wireName = 'heartbeat.cancel_requested';
  static override readonly action = 'heartbeat.cancel_requested';
}

@RegisterEvent
export class HeartbeatCancelled extends RunEvent {
  static override readonly wireName = 'heartbeat.cancelled';
  static override readonly action = 'heartbeat.cancelled';
}

/** A run that ended got a successor. */
@RegisterEvent
export class HeartbeatRetryScheduled extends RunEvent {
  static override readonly wireName = 'heartbeat.retry_scheduled';
  static override readonly action = 'heartbeat.retry_scheduled';
}

/** The wakeup request that a fact is about. */
export interface WakeRef {
  readonly id: string;
  readonly companyId: string;
  readonly agentId: string;
  readonly issueId: string | null;
  readonly reason: string;
}

abstract class WakeEvent extends DomainEvent {
  readonly companyId: string;
  readonly subject: { type: string; id: string };
  override readonly agentId: string;

  constructor(private readonly wake: WakeRef) {
    super();
    this.companyId = wake.companyId;
    this.subject = { type: 'agent_wakeup_request', id: wake.id };
    this.agentId = wake.agentId;
  }

  override details(): Record<string, unknown> {
    return { reason: this.wake.reason, issueId: this.wake.issueId };
  }
}

/** A wake waits for the run that is working on its issue. */
@RegisterEvent
export class HeartbeatDeferred extends WakeEvent {
  static override readonly wireName = 'heartbeat.deferred';
  static override readonly action = 'heartbeat.deferred';
}

/** A wake came to nothing, and says why. */
@RegisterEvent
export class HeartbeatSkipped extends WakeEvent {
  static override readonly wireName = 'heartbeat.skipped';
  static override readonly action = 'heartbeat.skipped';
}
