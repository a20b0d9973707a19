/** Since when, and why, nothing is reaped or taken down. */
export class QuarantineResponse {
  since: Date;
  /** @example 'The database was restored, or is another one: its last fencing token is 17, and 42 had been given out' */
  reason: string;
}

/** Whether there is a quarantine. */
export class QuarantineStateResponse {
  /** Null when there is none. */
  quarantine: QuarantineResponse | null;
}

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
  /**
   * While the database counts as restored and no operator has confirmed it: see `POST /api/admin/quarantine/confirm`.
   * Null when all is as ever; left out when the database cannot be reached.
   */
  quarantine?: QuarantineResponse | null;
  /** What is wrong, when something is. */
  error?: string;
  /** Names what is wrong, when something is. */
  code?: string;
}

/** That the process answers. */
export class LivenessResponse {
  status: 'ok';
}
