import { v7 } from 'uuid';

/** A new UUIDv7: unique, and close to insertion order in an index. It orders nothing that must be ordered. */
export const newId = (): string => v7();
