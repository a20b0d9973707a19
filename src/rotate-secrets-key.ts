import { loadConfig } from './config/load-config.js';
import { StartupError } from './config/startup-error.js';
import { requireSchema } from './database/migrations.js';
import { checkServer } from './database/server-check.js';
import { DomainError } from './errors/domain-error.js';
import { openDatabase } from './offline-database.js';
import { Keyring } from './secrets/keyring.js';
import { rotateKey } from './secrets/rotate-key.js';

async function rotate(): Promise<void> {
  const config = loadConfig(process.env, process.cwd());
  const database = await openDatabase(config);
  const interrupted = () => void database.close().finally(() => process.exit(INTERRUPTED));
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted);
  try {
    await checkServer(database.url);
    await requireSchema(database.url);
    const rotation = await rotateKey(database.url, new Keyring(config));
    process.stdout.write(
      rotation === null
        ? 'No secret was ever kept here, so no key is in use.\n'
        : `The key ${rotation.to} is in use; ${rotation.values} values were encrypted anew with it.\n`,
    );
    for (const sentence of rotation?.unreadable ?? []) process.stdout.write(`Left as it is: ${sentence}\n`);
  } finally {
    await database.close();
  }
}

const FAILED = 1;
const INTERRUPTED = 130;

rotate().catch((error: unknown) => {
  const isMeant = error instanceof StartupError || error instanceof DomainError;
  console.error(isMeant ? error.message : error);
  process.exitCode = FAILED;
});
