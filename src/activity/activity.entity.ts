import { defineEntity, p } from '@mikro-orm/core';
import { idColumn, objectColumn, timeColumn } from '../database/columns.js';

const ActivitySchema = defineEntity({
  name: 'Activity',
  tableName: 'activity_log',
  properties: {
    id: idColumn(),
    /** Insertion order, given by the database. */
    seq: p.bigint('number').lazy(),
    /** The same of the row that tells of it, which is how it is found. */
    rowSeq: p.bigint('number').lazy(),
    companyId: p.uuid(),
    actorType: p.text().$type<'agent' | 'user' | 'system' | 'plugin'>(),
    actorId: p.text(),
    action: p.text(),
    entityType: p.text(),
    entityId: p.text(),
    agentId: p.uuid().nullable(),
    runId: p.uuid().nullable(),
    details: objectColumn(),
    /** When it was written, by the database's clock: the record is listed in this order. */
    createdAt: timeColumn(),
  },
});

/** One entry of the append-only record of state changes, as it is read: a view of the rows that are written. */
export class Activity extends ActivitySchema.class {}
ActivitySchema.setClass(Activity);
