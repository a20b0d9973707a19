import { Module } from '@nestjs/common';
import { APP_INTERCEPTOR } from '@nestjs/core';
import { AgentsModule } from '../agents/agents.module.js';
import { CompaniesModule } from '../companies/companies.module.js';
import { EnvironmentsModule } from '../environments/environments.module.js';
import { IssuesModule } from '../issues/issues.module.js';
import { RestoreModule } from '../database/restore/restore.module.js';
import { LeasesModule } from '../leases/leases.module.js';
import { RedactionModule } from '../redaction/redaction.module.js';
import { SecretsModule } from '../secrets/secrets.module.js';
import { AdapterRegistry } from './adapters/adapter-registry.js';
import { HttpAdapter } from './adapters/http-adapter.js';
import { ProcessAdapter } from './adapters/process-adapter.js';
import { AgentHealth } from './ending/agent-health.js';
import { AgentStops } from './ending/agent-stops.js';
import { CommentPolicy } from './ending/comment-policy.js';
import { IssueWakes } from './wakes/issue-wakes.js';
import { Promotions } from './ending/promotions.js';
import { Retries } from './ending/retries.js';
import { SkippedWakes } from './wakes/skipped-wakes.js';
import { TerminalTransitions } from './ending/terminal-transitions.js';
import { Timers } from './wakes/timers.js';
import { CancelService } from './ending/cancel.service.js';
import { CancelWishes } from './ending/cancel-wishes.js';
import { ChosenEnvironments } from './claiming/chosen-environments.js';
import { ClaimRuns } from './claiming/claim-runs.js';
import { DispatchTriggers } from './execution/dispatch-triggers.js';
import { EndRuns } from './ending/end-runs.js';
import { EnvironmentLeaseInterceptor } from './execution/environment-lease.interceptor.js';
import { ExecuteRun } from './execution/execute-run.js';
import { DueStops } from './execution/due-stops.js';
import { ExecutionServer } from './execution/execution.server.js';
import { FinaliseService } from './execution/finalise.service.js';
import { Gate } from './claiming/gate.js';
import { Lookout } from './claiming/lookout.js';
import { HeartbeatExecutor } from './execution/heartbeat.executor.js';
import { InvocationRecorder } from './execution/invocation-recorder.js';
import { RunLogReader } from './logs/run-log-reader.js';
import { RunLogStore } from './logs/run-log-store.js';
import { RunLogs } from './logs/run-logs.js';
import { Placement } from './claiming/placement.js';
import { PlacementsService } from './waiting/placements.service.js';
import { ProvisionService } from './claiming/provision.service.js';
import { QueueRooms } from './wakes/queue-room.js';
import { QueueRun } from './wakes/queue-run.js';
import { ReadBack } from './claiming/read-back.js';
import { RealisePlace } from './execution/realise-place.js';
import { ReapLeases } from './ending/reap-leases.js';
import { Reaper } from './ending/reaper.js';
import { ReleaseController } from './http/release.controller.js';
import { RevokeController } from './http/revoke.controller.js';
import { RevokeService } from './ending/revoke.service.js';
import { ReleaseService } from './ending/release.service.js';
import { Renewer } from './execution/renewer.js';
import { Runner } from './execution/runner.js';
import { RunnerRegistry } from './execution/runner-registry.js';
import { AgentTurns } from './runs/agent-turns.js';
import { RunnerIdentity } from './runs/runner-identity.js';
import { RunningRuns } from './execution/running-runs.js';
import { HostsController } from './http/hosts.controller.js';
import { HostsService } from './runs/hosts.service.js';
import { RunnersController } from './http/runners.controller.js';
import { RunnersService } from './runs/runners.service.js';
import { RunsController } from './http/runs.controller.js';
import { RunsService } from './runs/runs.service.js';
import { RunBodyInterceptor } from './secrets/run-body.interceptor.js';
import { RunRedactors } from './secrets/run-redactors.js';
import { RunSecrets } from './secrets/run-secrets.js';
import { RunTokenResolver } from './secrets/run-token-resolver.js';
import { Successors } from './ending/successors.js';
import { Blockers } from './waiting/blockers.js';
import { QueueService } from './waiting/queue.service.js';
import { WaitDeadlines } from './waiting/wait-deadlines.js';
import { WaitingReasons } from './waiting/waiting-reasons.js';
import { Waits } from './waiting/waits.js';
import { QueueController } from './http/queue.controller.js';
import { ReservationsController } from './http/reservations.controller.js';
import { GrantLease } from './reserving/grant-lease.js';
import { LeaseRequests } from './reserving/lease-requests.js';
import { Refusals } from './reserving/refusals.js';
import { ReservationsService } from './reserving/reservations.service.js';
import { WaitingLine } from './reserving/waiting-line.js';
import { WakeController } from './http/wake.controller.js';
import { WakePayloads } from './wakes/wake-payloads.js';
import { WakeDecisions } from './wakes/wake-decisions.js';
import { WakeLocks } from './wakes/wake-locks.js';
import { WakeService } from './wakes/wake.service.js';

const WAKE = [
  WakeService,
  WakeDecisions,
  WakeLocks,
  SkippedWakes,
  QueueRooms,
  QueueRun,
  IssueWakes,
  Timers,
  Promotions,
];
const PROVISION = [ProvisionService, ClaimRuns, Lookout, Gate, Placement, ChosenEnvironments];
const EXECUTE = [
  EnvironmentLeaseInterceptor,
  ExecutionServer,
  ExecuteRun,
  InvocationRecorder,
  WakePayloads,
  RealisePlace,
  AdapterRegistry,
  ProcessAdapter,
  HttpAdapter,
];
const SECRETS = [
  RunSecrets,
  RunRedactors,
  RunTokenResolver,
  { provide: APP_INTERCEPTOR, useClass: RunBodyInterceptor },
];
const END = [
  FinaliseService,
  EndRuns,
  TerminalTransitions,
  ReadBack,
  ReapLeases,
  Reaper,
  ReleaseService,
  CancelService,
  CancelWishes,
  RevokeService,
  AgentStops,
];
const FOLLOW_UP = [Successors, Retries, CommentPolicy, AgentHealth];
const RUNNER = [Runner, RunnerIdentity, AgentTurns, RunnerRegistry, RunningRuns, Renewer, DueStops, DispatchTriggers];
const WAIT = [Waits, WaitingReasons, WaitDeadlines, Blockers, QueueService];
const RESERVE = [ReservationsService, GrantLease, WaitingLine, LeaseRequests, Refusals];
const READ = [RunsService, RunnersService, HostsService, PlacementsService, RunLogs, RunLogStore, RunLogReader];

@Module({
  imports: [
    RestoreModule,
    RedactionModule,
    CompaniesModule,
    SecretsModule,
    AgentsModule,
    IssuesModule,
    EnvironmentsModule,
    LeasesModule,
  ],
  controllers: [
    QueueController,
    HeartbeatExecutor,
    WakeController,
    RunsController,
    RunnersController,
    HostsController,
    ReleaseController,
    RevokeController,
    ReservationsController,
  ],
  providers: [
    ...WAKE,
    ...PROVISION,
    ...EXECUTE,
    ...SECRETS,
    ...END,
    ...FOLLOW_UP,
    ...RUNNER,
    ...WAIT,
    ...RESERVE,
    ...READ,
  ],
})
export class HeartbeatModule {}
