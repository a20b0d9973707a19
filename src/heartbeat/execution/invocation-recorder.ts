import { setTimeout as delay } from 'node:timers/promises';
import { Injectable, Logger } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import type { SpawnedProcess } from '../../environments/drivers/environment-driver.port.js';
import type { ClaimedRun } from '../runs/claimed-run.js';
import type { Invoked } from '../runs/run-outcome.js';
import { RunRedactors } from '../secrets/run-redactors.js';

/** How long what was called waits to be written, in milliseconds: a run that ends before writes it with its end. */
const WRITE_AFTER_MS = 250;

/** Between attempts while the database refuses or cannot be reached, in milliseconds. */
const RETRY_AFTER_MS = 1000;

/** Notes with runs what was called and which process that became. */
@Injectable()
export class InvocationRecorder {
  private readonly logger = new Logger(InvocationRecorder.name);
  private readonly unwritten = new Map<ClaimedRun, Invoked>();
  private writing: Promise<void> | null = null;

  constructor(
    private readonly em: EntityManager,
    private readonly redactors: RunRedactors,
  ) {}

  /** Never fails the execution. */
  note(run: ClaimedRun, details: Record<string, unknown>, child: SpawnedProcess | null): void {
    // A process says itself since when it is there.
    const at = child ? {} : { at: new Date().toISOString() };
    this.unwritten.set(run, {
      invocation: { ...at, adapterType: run.adapterType, ...this.redactors.of(run).json(details) },
      processPid: child?.pid ?? null,
      processGroupId: child?.processGroupId ?? null,
      processStartedAt: child?.startedAt.toISOString() ?? null,
    });
    this.writing ??= this.writeAll();
  }

  /** What is to be written with the run's end, because it may not be written yet. */
  take(run: ClaimedRun): Invoked | null {
    const invoked = this.unwritten.get(run) ?? null;
    this.unwritten.delete(run);
    return invoked;
  }

  private async writeAll(): Promise<void> {
    while (this.unwritten.size > 0) {
      await delay(WRITE_AFTER_MS, undefined, { ref: false });
      const batch = [...this.unwritten];
      try {
        await this.write(batch);
        for (const [run, invoked] of batch) if (this.unwritten.get(run) === invoked) this.unwritten.delete(run);
      } catch (error) {
        this.logger.warn({ err: error, runs: batch.length }, 'Invocations could not be noted; trying again');
        await delay(RETRY_AFTER_MS, undefined, { ref: false });
      }
    }
    this.writing = null;
  }

  /** A run that is not ours any more is left alone. One statement, so one transaction; in order, as runs are locked. */
  private async write(batch: [ClaimedRun, Invoked][]): Promise<void> {
    if (batch.length === 0) return;
    await this.em.fork().execute(
      `with held as (
         select x.* from jsonb_to_recordset(?::jsonb) as x(id uuid, "leaseId" uuid, "processPid" integer,
           "processGroupId" integer, "processStartedAt" timestamptz, invocation jsonb)
         join heartbeat_runs r on r.id = x.id and r.lease_id = x."leaseId"
         where r.id = any(?::uuid[]) and r.status = ? order by r.id for no key update of r)
       update heartbeat_runs r
       set process_pid = held."processPid", process_group_id = held."processGroupId",
         process_started_at = held."processStartedAt", invocation = held.invocation, updated_at = now()
       from held where r.id = any(array(select id from held)) and r.id = held.id`,
      [
        JSON.stringify(batch.map(([{ id, lease }, invoked]) => ({ id, leaseId: lease.id, ...invoked }))),
        `{${batch.map(([{ id }]) => id).join(',')}}`,
        'running',
      ],
    );
  }
}
