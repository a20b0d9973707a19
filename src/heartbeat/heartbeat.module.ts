import { Module } from '@nestjs/common';
import { AgentsModule } from '../agents/agents.module.js';
import { CompaniesModule } from '../companies/companies.module.js';
import { EnvironmentsModule } from '../environments/environments.module.js';
import { IssuesModule } from '../issues/issues.module.js';
import { LeasesModule } from '../leases/leases.module.js';
import { AdapterRegistry } from './adapters/adapter-registry.js';
import { HttpAdapter } from './adapters/http-adapter.js';
import { ProcessAdapter } from './adapters/process-adapter.js';
import { AgentHealth } from './agent-health.js';
import { AgentStops } from './agent-stops.js';
import { CommentPolicy } from './comment-policy.js';
import { IssueWakes } from './issue-wakes.js';
import { Promotions } from './promotions.js';
import { Retries } from './retries.js';
import { SkippedWakes } from './skipped-wakes.js';
import { TerminalTransitions } from './terminal-transitions.js';
import { Timers } from './timers.js';
import { CancelService } from './cancel.service.js';
import { ClaimRuns } from './claim-runs.js';
import { CleanUp } from './clean-up.js';
import { DispatchTriggers } from './dispatch-triggers.js';
import { EndRuns } from './end-runs.js';
import { EnvironmentLeaseInterceptor } from './environment-lease.interceptor.js';
import { ExecuteRun } from './execute-run.js';
import { ExecutionServer } from './execution.server.js';
import { FinaliseService } from './finalise.service.js';
import { Gate } from './gate.js';
import { HeartbeatExecutor } from './heartbeat.executor.js';
import { InvocationRecorder } from './invocation-recorder.js';
import { RunLogReader } from './logs/run-log-reader.js';
import { RunLogStore } from './logs/run-log-store.js';
import { RunLogs } from './logs/run-logs.js';
import { Placement } from './placement.js';
import { PlacementsService } from './placements.service.js';
import { ProvisionService } from './provision.service.js';
import { QueueRun } from './queue-run.js';
import { ReadBack } from './read-back.js';
import { ReapLeases } from './reap-leases.js';
import { Reaper } from './reaper.js';
import { ReleaseController } from './release.controller.js';
import { ReleaseService } from './release.service.js';
import { Renewer } from './renewer.js';
import { RunTokenResolver } from './run-token-resolver.js';
import { Runner } from './runner.js';
import { RunnerIdentity } from './runner-identity.js';
import { RunningRuns } from './running-runs.js';
import { RunsController } from './runs.controller.js';
import { RunsService } from './runs.service.js';
import { Successors } from './successors.js';
import { WakeController } from './wake.controller.js';
import { WakePayloads } from './wake-payloads.js';
import { WakeService } from './wake.service.js';

const WAKE = [WakeService, SkippedWakes, QueueRun, IssueWakes, Timers, Promotions];
const PROVISION = [ProvisionService, ClaimRuns, Gate, Placement];
const EXECUTE = [
  EnvironmentLeaseInterceptor,
  ExecutionServer,
  ExecuteRun,
  InvocationRecorder,
  WakePayloads,
  CleanUp,
  AdapterRegistry,
  ProcessAdapter,
  HttpAdapter,
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
  AgentStops,
];
const FOLLOW_UP = [Successors, Retries, CommentPolicy, AgentHealth];
const RUNNER = [Runner, RunnerIdentity, RunningRuns, Renewer, DispatchTriggers, RunTokenResolver];
const READ = [RunsService, PlacementsService, RunLogs, RunLogStore, RunLogReader];

@Module({
  imports: [CompaniesModule, AgentsModule, IssuesModule, EnvironmentsModule, LeasesModule],
  controllers: [HeartbeatExecutor, WakeController, RunsController, ReleaseController],
  providers: [...WAKE, ...PROVISION, ...EXECUTE, ...END, ...FOLLOW_UP, ...RUNNER, ...READ],
})
export class HeartbeatModule {}
