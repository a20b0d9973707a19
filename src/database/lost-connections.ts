import type { Pool, PoolClient } from 'pg';

/**
 * Gives connections back to the pool that were lost while somebody held them. The ORM gives back the one of a
 * transaction once that is committed or rolled back, which a lost one never is: each would take a place in the pool
 * until the process ends.
 */
export function giveBackLostConnections(pool: Pool): void {
  const held = new Set<PoolClient>();
  pool.on('acquire', (client) => held.add(client));
  pool.on('release', (_error, client) => held.delete(client));
  pool.on('connect', (client) => {
    client.once('end', () => {
      if (!held.has(client)) return;
      client.release(true);
      // Its holder may still give it back, too.
      client.release = () => undefined;
    });
  });
}
