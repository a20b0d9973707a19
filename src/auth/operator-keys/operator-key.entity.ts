import { defineEntity, p } from '@mikro-orm/core';
import { createdAtColumn, idColumn, timeColumn } from '../../database/columns.js';

const OperatorKeySchema = defineEntity({
  name: 'OperatorKey',
  tableName: 'operator_keys',
  properties: {
    id: idColumn(),
    name: p.text(),
    tokenHash: p.blob(),
    /** The only companies that it can see; null for the whole instance. */
    companyIds: p.array().columnType('uuid[]').nullable(),
    readOnly: p.boolean().default(false),
    given: p.boolean().default(false),
    expiresAt: timeColumn().nullable(),
    createdBy: p.text(),
    createdAt: createdAtColumn(),
    revokedBy: p.text().nullable(),
    revokedAt: timeColumn().nullable(),
    lastUsedAt: timeColumn().nullable(),
  },
});

/** A credential of an operator; only its hash is kept. */
export class OperatorKey extends OperatorKeySchema.class {
  revoke(by: string, at: Date): void {
    this.revokedBy = by;
    this.revokedAt = at;
  }
}
OperatorKeySchema.setClass(OperatorKey);
