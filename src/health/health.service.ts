import { Injectable } from '@nestjs/common';
import { VERSION } from '../config/version.js';
import { Quarantine } from '../database/restore/quarantine.js';
import type { HealthResponse } from './health.dto.js';

/** How long the database may take to answer before it counts as out of reach. */
const ANSWER_MS = 2_000;

@Injectable()
export class HealthService {
  private draining = false;

  constructor(private readonly quarantine: Quarantine) {}

  /** The process was asked to stop: it answers until it does, and wants no further work. */
  drain(): void {
    this.draining = true;
  }

  /** Whether requests should be sent here. Never throws, and answers within about two seconds. */
  async readiness(): Promise<HealthResponse> {
    const health = await this.check();
    if (!this.draining || health.status !== 'ok') return health;
    const error = 'This process was asked to stop: send requests to another one';
    return { ...health, status: 'draining', error, code: 'draining' };
  }

  /** Never throws, and answers within about two seconds. */
  async check(): Promise<HealthResponse> {
    const facts = { version: VERSION, uptimeSec: Math.floor(process.uptime()) };
    const answer = await this.databaseAnswer();
    if (answer) return { status: 'ok', ...facts, database: 'reachable', ...answer };
    const error = 'The database cannot be reached';
    return { status: 'unhealthy', ...facts, database: 'unreachable', error, code: 'database_unavailable' };
  }

  /** What the database says of itself, or null when it does not answer in time. */
  private async databaseAnswer(): Promise<Pick<HealthResponse, 'quarantine'> | null> {
    const answer = this.quarantine.state().then(
      (quarantine) => ({ quarantine }),
      () => null,
    );
    let timer: NodeJS.Timeout | undefined;
    const tooLate = new Promise<null>((resolve) => {
      timer = setTimeout(() => resolve(null), ANSWER_MS);
    });
    return Promise.race([answer, tooLate]).finally(() => clearTimeout(timer));
  }
}
