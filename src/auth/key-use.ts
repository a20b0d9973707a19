import type { EntityManager } from '@mikro-orm/postgresql';
import { Logger } from '@nestjs/common';

/** Where the last use of each kind of credential is kept. */
const USES = {
  agent: { table: 'agent_api_keys', column: 'last_used_at' },
  operator: { table: 'operator_keys', column: 'last_used_at' },
  run: { table: 'heartbeat_runs', column: 'token_last_used_at' },
} as const;

type Use = keyof typeof USES;

const logger = new Logger('KeyUse');

/** SQL: whether the use of a credential's row was noted a moment ago, so that it is not noted with every request. */
export const isUseNoted = (kind: Use): string => `coalesce(${USES[kind].column} > now() - interval '1 minute', false)`;

/** Notes that a credential was used now. Not in the request's way: that neither waits for this nor fails with it. */
export function noteUse(em: EntityManager, kind: Use, id: string): void {
  const { table, column } = USES[kind];
  em.fork()
    .execute(`update ${table} set ${column} = now() where id = ? and not ${isUseNoted(kind)}`, [id])
    .catch((error: unknown) => logger.warn({ err: error, kind, id }, 'The use of a credential was not noted'));
}
