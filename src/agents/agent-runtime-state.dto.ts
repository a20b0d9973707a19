/** When and how many of its runs an agent wants. */
export class HeartbeatPolicyResponse {
  /** Whether it is woken by a timer. */
  enabled: boolean;
  /** Time between two timer wakes, in seconds. */
  intervalSec: number;
  /** Whether anything but the timer may wake it. */
  wakeOnDemand: boolean;
  /** How many of its runs may be running at once. */
  maxConcurrentRuns: number;
}

/** What an agent is doing now, and what it did last. */
export class AgentRuntimeStateResponse {
  agentId: string;
  companyId: string;
  adapterType: string;
  status: string;
  heartbeat: HeartbeatPolicyResponse;
  lastHeartbeatAt: Date | null;
  /** When its timer wakes it next; null while its timer is off. */
  nextTimerAt: Date | null;
  runningRuns: number;
  /** Runs that wait to start, scheduled retries included. */
  waitingRuns: number;
  /** The run that was made last, whatever became of it. */
  lastRunId: string | null;
  lastRunStatus: string | null;
  /** What went wrong with that run, if something did. */
  lastError: string | null;
}
