import { defineEntity, p } from '@mikro-orm/core';
import { assignChanges } from '../database/assign-changes.js';
import { createdAtColumn, idColumn, timeColumn, updatedAtColumn } from '../database/columns.js';

const SecretSchema = defineEntity({
  name: 'Secret',
  tableName: 'secrets',
  properties: {
    id: idColumn(),
    companyId: p.uuid(),
    name: p.text(),
    description: p.text().nullable(),
    latestVersion: p.integer().default(1),
    rotatedAt: timeColumn().nullable(),
    deletedAt: timeColumn().nullable(),
    createdAt: createdAtColumn(),
    updatedAt: updatedAtColumn(),
  },
});

/** What may be changed of a secret; a field that is left out stays as it is. */
export interface SecretChanges {
  readonly name?: string;
  readonly description?: string | null;
}

/** What is known of a secret without its value, the versions of which are in a table of their own. */
export class Secret extends SecretSchema.class {
  /** @returns the names of the fields that are different now. */
  change(changes: SecretChanges): string[] {
    return assignChanges<Secret, SecretChanges>(this, changes);
  }

  /** @returns the number of the version that the new value is. */
  rotate(at: Date): number {
    this.rotatedAt = at;
    return ++this.latestVersion;
  }

  /** Gone for its users; the row stays, because the record names it. */
  delete(at: Date): void {
    this.deletedAt = at;
  }
}
SecretSchema.setClass(Secret);
