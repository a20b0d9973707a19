import { p } from '@mikro-orm/core';
import { newId } from './id.js';

/** Primary key: a UUIDv7 made by the application. */
export const idColumn = () => p.uuid().primary().onCreate(newId);

/** A time as the database keeps it: millisecond precision, what a client can send back unchanged. */
export const timeColumn = () => p.datetime().columnType('timestamptz(3)');

/** Set when the row is inserted, by the application's clock: shown, never decided by. */
export const createdAtColumn = () =>
  timeColumn()
    .defaultRaw('now()')
    .onCreate(() => new Date());

/** Set when the row is inserted and at each flushed change. */
export const updatedAtColumn = () => createdAtColumn().onUpdate(() => new Date());

/** A jsonb object that is never null. */
export const objectColumn = <T extends object = Record<string, unknown>>() =>
  p
    .json<T>()
    .defaultRaw(`'{}'`)
    .onCreate(() => ({}) as T);
