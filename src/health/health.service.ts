import { readFileSync } from 'node:fs';
import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';
import type { HealthResponse } from './health.dto.js';

/** How long the database may take to answer before it counts as out of reach. */
const ANSWER_MS = 2_000;

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

@Injectable()
export class HealthService {
  constructor(private readonly em: EntityManager) {}

  /** Never throws, and answers within about two seconds. */
  async check(): Promise<HealthResponse> {
    const facts = { version, uptimeSec: Math.floor(process.uptime()) };
    if (await this.databaseAnswers()) return { status: 'ok', ...facts, database: 'reachable' };
    const error = 'The database cannot be reached';
    return { status: 'unhealthy', ...facts, database: 'unreachable', error, code: 'database_unavailable' };
  }

  private async databaseAnswers(): Promise<boolean> {
    const answer = this.em
      .fork()
      .execute('select 1')
      .then(
        () => true,
        () => false,
      );
    let timer: NodeJS.Timeout | undefined;
    const tooLate = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), ANSWER_MS);
    });
    return Promise.race([answer, tooLate]).finally(() => clearTimeout(timer));
  }
}
