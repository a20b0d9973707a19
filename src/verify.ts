import type { CheckResult } from './activity/verify/check.js';
import { verifyRecord } from './activity/verify/verify-record.js';
import { loadConfig } from './config/load-config.js';
import { StartupError } from './config/startup-error.js';
import { requireSchema } from './database/migrations.js';
import { checkServer } from './database/server-check.js';
import { openDatabase } from './offline-database.js';

/** How long one query may take: nobody waits on a connection here. */
const STATEMENT_SEC = 3600;

function print({ name, claim, checked, found, divergences }: CheckResult): void {
  const verdict = found === 0 ? 'ok' : `${found} DIVERGE`;
  process.stdout.write(`${name}: ${checked} checked, ${verdict}\n`);
  if (found === 0) return;
  process.stdout.write(`  ${claim}\n`);
  for (const { sentence } of divergences) process.stdout.write(`  - ${sentence}\n`);
  if (found > divergences.length) process.stdout.write(`  … and ${found - divergences.length} more\n`);
}

/** @returns whether the record and the state agree. */
async function verify(): Promise<boolean> {
  const database = await openDatabase(loadConfig(process.env, process.cwd()));
  const interrupted = () => void database.close().finally(() => process.exit(INTERRUPTED));
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted);
  try {
    await checkServer(database.url);
    await requireSchema(database.url);
    const results = await verifyRecord(database.url, STATEMENT_SEC, print);
    const wrong = results.filter(({ found }) => found > 0);
    process.stdout.write(
      wrong.length === 0
        ? `The record and the state agree in all ${results.length} checks.\n`
        : `The record and the state disagree in ${wrong.length} of ${results.length} checks.\n`,
    );
    return wrong.length === 0;
  } finally {
    await database.close();
  }
}

const DISAGREE = 1;
const NOT_VERIFIED = 2;
const INTERRUPTED = 130;

verify().then(
  (agree) => (process.exitCode = agree ? 0 : DISAGREE),
  (error: unknown) => {
    console.error(error instanceof StartupError ? error.message : error);
    process.exitCode = NOT_VERIFIED;
  },
);
