import { defineEntity, p } from '@mikro-orm/core';
import { createdAtColumn, idColumn, objectColumn, timeColumn, updatedAtColumn } from '../../database/columns.js';

export const PLACE_STATES = ['realising', 'in_use', 'warm', 'retained', 'cleaning', 'gone'] as const;
export type PlaceState = (typeof PLACE_STATES)[number];

const EnvironmentPlaceSchema = defineEntity({
  name: 'EnvironmentPlace',
  tableName: 'environment_places',
  properties: {
    id: idColumn(),
    companyId: p.uuid(),
    environmentId: p.uuid(),
    executionWorkspaceId: p.uuid().nullable(),
    /** Whoever holds it, or held it last. */
    leaseId: p.uuid(),
    state: p.text().$type<PlaceState>(),
    driver: p.text(),
    adapterType: p.text().nullable(),
    configFingerprint: p.text(),
    /** The only host that can reach it; null for any. */
    host: p.text().nullable(),
    facts: objectColumn(),
    providerLeaseId: p.text().nullable(),
    realiseDeadlineAt: timeColumn(),
    keepUntil: timeColumn().nullable(),
    attempts: p.integer().default(0),
    nextAttemptAt: timeColumn().nullable(),
    lastError: p.text().nullable(),
    parkedAt: timeColumn().nullable(),
    goneAt: timeColumn().nullable(),
    createdAt: createdAtColumn(),
    updatedAt: updatedAtColumn(),
  },
});

/**
 * What a driver made for a lease and has to take down again. Its transitions are statements that compare and set, each
 * in a file named for it.
 */
export class EnvironmentPlace extends EnvironmentPlaceSchema.class {}
EnvironmentPlaceSchema.setClass(EnvironmentPlace);
