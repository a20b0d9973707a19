import { isDeepStrictEqual } from 'node:util';
import type { Client } from 'pg';

const ID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;
const TIME = /^\d{4}-\d\d-\d\dT[\d:.]+\+00:00$/;
/** Drawn by the database for each row, and a secret's hash. */
const DRAWN = new Set(['seq', 'row_seq', 'tx', 'fencing_token', 'token_hash', 'fencingToken', 'taskKey']);

/**
 * Makes sure that two runs have left the same rows, apart from ids and times.
 * @throws Error that names the first columns that differ.
 */
export async function assertSameRows(client: Client, berths: string, floors: string): Promise<void> {
  const [one, other] = [await rowsOf(client, berths), await rowsOf(client, floors)];
  const names = [...new Set([...Object.keys(one), ...Object.keys(other)])];
  const different = names.filter((name) => !isDeepStrictEqual(one[name], other[name]));
  if (different.length === 0) return;
  const lines = different.map((name) => `${name}: ${JSON.stringify(one[name])} and ${JSON.stringify(other[name])}`);
  throw new Error(`The floor does not write what Berth writes:\n${lines.join('\n')}`);
}

/** Every value of run, lease and entries, by row and column. */
async function rowsOf(client: Client, run: string): Promise<Record<string, unknown>> {
  const { rows } = await client.query<{ name: string; row: Record<string, unknown> }>(
    `select 'run' as name, to_jsonb(r) as row from heartbeat_runs r where id = $1
     union all select 'lease', to_jsonb(l) from environment_leases l where heartbeat_run_id = $1
     union all select action, to_jsonb(a) from activity_log a where run_id = $1`,
    [run],
  );
  const values = rows.flatMap(({ name, row }) =>
    Object.entries(row).map(([column, value]): [string, unknown] => [`${name}.${column}`, withoutDrawn(column, value)]),
  );
  return Object.fromEntries(values);
}

function withoutDrawn(name: string, value: unknown): unknown {
  if (DRAWN.has(name) && value !== null) return 'drawn';
  if (typeof value === 'string') return TIME.test(value) ? 'time' : value.replaceAll(ID, 'id');
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, withoutDrawn(key, inner)]));
}
