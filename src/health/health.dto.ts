/** How the server is. */
export class HealthResponse {
  /** Whether it can do its work; `draining` only where readiness is asked for. */
  status: 'ok' | 'unhealthy' | 'draining';
  /**
   * Version of Berth.
   * @example '0.1.0'
   */
  version: string;
  database: 'reachable' | 'unreachable';
  /** How long this process has been up, in seconds. */
  uptimeSec: number;
  /** What is wrong, when something is. */
  error?: string;
  /** Names what is wrong, when something is. */
  code?: string;
}

/** That the process answers. */
export class LivenessResponse {
  status: 'ok';
}
