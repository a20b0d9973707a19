import { Injectable } from '@nestjs/common';
import { AgentResumed, AgentUpdated } from '../../agents/agents.events.js';
import { CompanyUpdated } from '../../companies/companies.events.js';
import { DatabaseNotifications } from '../../database/notifications.js';
import { EnvironmentActivated, EnvironmentUpdated } from '../../environments/environments.events.js';
import { AfterCommit } from '../../events/listeners.js';
import { LeaseExpired, LeaseFailed, LeaseReleased } from '../../leases/leases.events.js';
import { PlaceForgotten, PlaceGone } from '../../leases/places/places.events.js';
import {
  HeartbeatCancelled,
  HeartbeatCancelRequested,
  HeartbeatFailed,
  HeartbeatInvoked,
  HeartbeatQueued,
  HeartbeatRetryScheduled,
  HeartbeatSucceeded,
  HeartbeatTimedOut,
} from '../runs/heartbeat.events.js';
import { ROOM_CHANNEL, Runner, STARTS_CHANNEL, STOPS_CHANNEL } from './runner.js';

/** Wakes runners, here and in other processes, when something was committed that may let a run start or have to stop. */
@Injectable()
export class DispatchTriggers {
  constructor(
    private readonly runner: Runner,
    private readonly notifications: DatabaseNotifications,
  ) {}

  @AfterCommit(HeartbeatInvoked)
  @AfterCommit(HeartbeatQueued)
  @AfterCommit(HeartbeatRetryScheduled)
  // An operator can let runs start that could not.
  @AfterCommit(AgentResumed)
  @AfterCommit(AgentUpdated)
  @AfterCommit(CompanyUpdated)
  @AfterCommit(EnvironmentActivated)
  @AfterCommit(EnvironmentUpdated)
  aRunMayStart(): void {
    this.runner.lookForStarts();
    this.notifications.notify(STARTS_CHANNEL);
  }

  // The end of a run frees room under its agent's and company's caps…
  @AfterCommit(HeartbeatSucceeded)
  @AfterCommit(HeartbeatFailed)
  @AfterCommit(HeartbeatTimedOut)
  @AfterCommit(HeartbeatCancelled)
  // …and so does the end of what no run held, or of what it held besides…
  @AfterCommit(LeaseReleased)
  @AfterCommit(LeaseExpired)
  @AfterCommit(LeaseFailed)
  // …and of what that left behind, under its environment's capacity.
  @AfterCommit(PlaceGone)
  @AfterCommit(PlaceForgotten)
  thereMayBeRoom(): void {
    this.notifications.notify(this.runner.lookForStarts() ? ROOM_CHANNEL : STARTS_CHANNEL);
  }

  @AfterCommit(HeartbeatCancelRequested)
  // Somebody else than its runner may have ended it.
  @AfterCommit(HeartbeatCancelled)
  @AfterCommit(LeaseExpired)
  aRunHasToStop(): void {
    this.runner.lookForStops();
    this.notifications.notify(STOPS_CHANNEL);
  }
}
