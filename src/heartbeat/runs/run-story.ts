import { v5 as derivedId } from 'uuid';
import type { HeartbeatRun } from './heartbeat-run.entity.js';
import { placementOf } from './placement-record.js';

/** One entry of a run's own story, for people who follow it. It is read off the run's row; the activity record is the proof. */
export interface RunEvent {
  readonly id: string;
  /** Rises within a run; each kind of entry has its own. */
  readonly seq: number;
  readonly eventType: 'heartbeat.run.status' | 'adapter.invoke';
  readonly level: 'info' | 'error';
  readonly message: string;
  readonly payload: Record<string, unknown>;
  readonly createdAt: Date;
}

/** What has happened to a run, oldest first. */
export function storyOf(run: HeartbeatRun): RunEvent[] {
  return [waiting(run), started(run), invoked(run), ended(run)].flatMap((event, index) =>
    event ? [{ ...event, seq: index + 1, id: derivedId(`event ${index + 1}`, run.id) }] : [],
  );
}

type Entry = Omit<RunEvent, 'id' | 'seq'>;

function waiting({ scheduledRetryAt, createdAt }: HeartbeatRun): Entry {
  const status = scheduledRetryAt ? 'scheduled_retry' : 'queued';
  return { ...STATUS, message: status, payload: { status }, createdAt };
}

function started(run: HeartbeatRun): Entry | null {
  const { startedAt, runnerId } = run;
  if (!startedAt) return null;
  const payload = { status: 'running', runnerId, host: placementOf(run)?.host ?? null };
  return { ...STATUS, message: 'running', payload, createdAt: startedAt };
}

function invoked(run: HeartbeatRun): Entry | null {
  if (!run.invocation) return null;
  const { at, ...details } = run.invocation;
  const payload = { environment: placementOf(run)?.environmentName ?? null, ...details };
  const createdAt = at === undefined ? run.processStartedAt! : new Date(at);
  const message = `Invoked the adapter "${details.adapterType}"`;
  return { eventType: 'adapter.invoke', level: 'info', message, payload, createdAt };
}

function ended({ status, finishedAt, error, errorCode }: HeartbeatRun): Entry | null {
  if (!finishedAt) return null;
  const level = status === 'succeeded' || status === 'cancelled' ? 'info' : 'error';
  const payload = { status, ...(errorCode ? { errorCode } : {}) };
  return { ...STATUS, level, message: error ?? status, payload, createdAt: finishedAt };
}

const STATUS = { eventType: 'heartbeat.run.status', level: 'info' } as const;
