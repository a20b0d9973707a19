import type { EntityManager } from '@mikro-orm/postgresql';

/** The running runs whose first lease is in an environment, in the order in which everybody locks runs. */
const RUNS_THERE = `select r.id from environment_leases l
  join heartbeat_runs r on r.id = l.heartbeat_run_id and r.status = 'running'
  where l.environment_id = ? and l.held_until is null and l.status = 'active' and l.run_lease_id = l.id
  order by r.id for no key update of r`;

/**
 * Holds the runs in an environment until the transaction ends. For who then holds the environment to end what is there:
 * runs come before environments in the order of locks. Runs live in a module above this one, so this reads their table.
 */
export async function holdRunsIn(em: EntityManager, environmentId: string): Promise<void> {
  await em.execute(RUNS_THERE, [environmentId]);
}

/**
 * Holds those that have come there since as well; for a caller that holds the environment, so that no more can come.
 * @returns whether all are held now. A run that somebody else holds is not waited for: that one may wait for us.
 */
export async function holdsRunsIn(em: EntityManager, environmentId: string): Promise<boolean> {
  const [{ missed }] = await em.execute<[{ missed: boolean }]>(
    `with held as materialized (${RUNS_THERE} skip locked)
     select exists (select from environment_leases l
       where l.environment_id = ? and l.held_until is null and l.status = 'active' and l.run_lease_id = l.id
         and l.heartbeat_run_id not in (select id from held)) as missed`,
    [environmentId, environmentId],
  );
  return !missed;
}
