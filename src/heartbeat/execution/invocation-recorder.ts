import { Injectable, Logger } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { newId } from '../../database/id.js';
import type { SpawnedProcess } from '../../environments/drivers/environment-driver.port.js';
import type { ClaimedRun } from '../runs/claimed-run.js';

/** Notes with a run what was called and which process that became. */
@Injectable()
export class InvocationRecorder {
  private readonly logger = new Logger(InvocationRecorder.name);

  constructor(private readonly em: EntityManager) {}

  /** Never fails the execution; a run that is not ours any more is left alone. One statement, so one transaction. */
  async record(run: ClaimedRun, details: Record<string, unknown>, child: SpawnedProcess | null): Promise<void> {
    const payload = { adapterType: run.adapterType, environment: run.environment.name, ...details };
    try {
      await this.em.fork().execute(
        `with invoked as (
           update heartbeat_runs
           set process_pid = coalesce(?::integer, process_pid), process_group_id = coalesce(?::integer, process_group_id),
             process_started_at = coalesce(?::timestamptz, process_started_at), updated_at = now()
           where id = ? and lease_id = ? and status = 'running' returning id, company_id, agent_id)
         insert into heartbeat_run_events (id, run_id, company_id, agent_id, event_type, message, payload)
         select ?, id, company_id, agent_id, 'adapter.invoke', ?, ?::jsonb from invoked`,
        [
          child?.pid ?? null,
          child?.processGroupId ?? null,
          child?.startedAt.toISOString() ?? null,
          run.id,
          run.lease.id,
          newId(),
          `Invoked the adapter "${run.adapterType}"`,
          JSON.stringify(payload),
        ],
      );
    } catch (error) {
      this.logger.warn({ err: error, runId: run.id }, 'An invocation could not be noted');
    }
  }
}
