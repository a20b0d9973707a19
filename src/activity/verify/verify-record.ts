import { Client } from 'pg';
import type { Check, CheckResult, Divergence } from './check.js';
import { FOLD_CHECKS } from './fold-checks.js';
import { LEASE_CHECKS } from './lease-checks.js';
import { PLACE_CHECKS } from './place-checks.js';
import { RUN_CHECKS } from './run-checks.js';

/** Everything that is checked, in this order. */
const CHECKS: readonly Check[] = [...FOLD_CHECKS, ...RUN_CHECKS, ...LEASE_CHECKS, ...PLACE_CHECKS];

/** How many divergences of a class are told one by one. */
const TOLD = 20;

/**
 * Compares the record with the state, and the state with itself, in one snapshot: whatever goes on meanwhile, it sees
 * each change whole or not at all. It has a connection of its own, which it keeps as long as it takes; PostgreSQL sorts
 * and counts, on disk where it has to.
 * @param statementSec how long one query may take.
 * @param onResult told of each check when it is done.
 * @throws DatabaseError 57014 when a query takes longer.
 */
export async function verifyRecord(
  databaseUrl: string,
  statementSec: number,
  onResult?: (result: CheckResult) => void,
): Promise<CheckResult[]> {
  const client = new Client({
    connectionString: databaseUrl,
    application_name: 'berth-verify',
    connectionTimeoutMillis: 10_000,
    statement_timeout: statementSec * 1000,
  });
  client.on('error', () => undefined);
  await client.connect();
  try {
    await client.query('begin transaction isolation level repeatable read read only');
    return await checkRecord(client, onResult);
  } finally {
    await client.end();
  }
}

/** Carries out every check on a connection, whose transaction makes what they see one moment. */
export async function checkRecord(
  client: Client,
  onResult: (result: CheckResult) => void = () => undefined,
): Promise<CheckResult[]> {
  const results = [];
  for (const check of CHECKS) {
    const result = await carryOut(client, check);
    onResult(result);
    results.push(result);
  }
  return results;
}

async function carryOut(client: Client, { name, claim, over, divergences }: Check): Promise<CheckResult> {
  const counted = await client.query<{ count: string }>(`select count(*) from ${over}`);
  const { rows } = await client.query<Divergence & { found: string }>(
    `select id, sentence, count(*) over () as found from (${divergences}) as divergence limit ${TOLD}`,
  );
  return {
    name,
    claim,
    checked: Number(counted.rows[0]?.count),
    found: Number(rows[0]?.found ?? 0),
    divergences: rows.map(({ id, sentence }) => ({ id, sentence })),
  };
}
