import { defineEntity, p } from '@mikro-orm/core';
import type { RunStatus } from './heartbeat-run.entity.js';
import { createdAtColumn, idColumn } from '../../database/columns.js';

export type RunEventType = 'lifecycle' | 'heartbeat.run.status' | 'adapter.invoke' | 'heartbeat.run.log' | 'error';

const HeartbeatRunEventSchema = defineEntity({
  name: 'HeartbeatRunEvent',
  tableName: 'heartbeat_run_events',
  properties: {
    id: idColumn(),
    /** Rising within a run; given by the database. */
    seq: p.bigint('number').defaultRaw('identity'),
    companyId: p.uuid(),
    runId: p.uuid(),
    agentId: p.uuid(),
    eventType: p.text().$type<RunEventType>(),
    stream: p.text().$type<'stdout' | 'stderr' | 'system'>().nullable(),
    level: p.text().$type<'debug' | 'info' | 'warn' | 'error'>().default('info'),
    message: p.text().nullable(),
    payload: p.json<Record<string, unknown>>().nullable(),
    createdAt: createdAtColumn(),
  },
});

/** One entry of a run's own story, for people who follow it; the activity record is the proof. */
export class HeartbeatRunEvent extends HeartbeatRunEventSchema.class {}
HeartbeatRunEventSchema.setClass(HeartbeatRunEvent);

/** What a run's story says when the run is in a new state. */
export const statusEvent = (run: { id: string; companyId: string; agentId: string }, status: RunStatus) => ({
  companyId: run.companyId,
  runId: run.id,
  agentId: run.agentId,
  eventType: 'heartbeat.run.status' as const,
  message: status,
  payload: { status },
});
