import type { EntityManager } from '@mikro-orm/postgresql';

/** An agent as it is while its row is held. */
export interface HeldAgent {
  readonly id: string;
  readonly status: string;
  readonly company_is_active: boolean;
}

/** Agents that a transaction holds, by id. */
export type HeldAgents = ReadonlyMap<string, HeldAgent>;

const HELD = `select a.id, a.status, c.status = 'active' as company_is_active
  from agents a join companies c on c.id = a.company_id where a.id = any(?::uuid[])`;

/**
 * Holds agents, in the order of their ids.
 * @param ifFaulty those of them that are held only if a failure has left them in error.
 */
export async function holdAgents(
  em: EntityManager,
  ids: readonly string[],
  ifFaulty: readonly string[] = [],
): Promise<HeldAgents> {
  const rows = await em.execute<HeldAgent[]>(
    `${HELD} and (a.status = 'error' or a.id <> all(?::uuid[])) order by a.id for no key update of a`,
    [idsOf(ids), idsOf(ifFaulty)],
  );
  return byId(rows);
}

/** Holds those of the agents that nobody else holds. */
export async function tryHoldAgents(em: EntityManager, ids: readonly string[]): Promise<HeldAgents> {
  return byId(await em.execute<HeldAgent[]>(`${HELD} order by a.id for no key update of a skip locked`, [idsOf(ids)]));
}

const idsOf = (ids: readonly string[]) => `{${ids.join(',')}}`;
const byId = (rows: HeldAgent[]): HeldAgents => new Map(rows.map((row) => [row.id, row]));
