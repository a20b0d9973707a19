import { Client } from 'pg';
import { StartupError } from '../config/startup-error.js';
import { DomainError } from '../errors/domain-error.js';
import type { Keyring } from './keyring.js';
import type { MasterKey } from './master-key.js';
import { open, seal } from './secret-cipher.js';
import { VERSION_COLUMNS, type StoredVersion } from './secret-values.js';

/** How many values one transaction encrypts anew. */
const PAGE = 200;

/** What became of the values. */
interface Encrypted {
  /** How many were encrypted anew. */
  values: number;
  /** Those that could not be read and were left as they are, each in a sentence. */
  readonly unreadable: string[];
}

/** What a rotation did. */
export interface KeyRotation extends Encrypted {
  readonly from: string;
  readonly to: string;
}

/**
 * Takes a new key into use and encrypts every value anew, beside servers that run. One that was interrupted is gone on
 * with: while values can be brought under the key that is in use already, no further key is taken.
 * @returns null where there is nothing that is encrypted.
 * @throws StartupError when there is no newer key; SecretsKeyMismatchError when one that is needed is not there.
 */
export async function rotateKey(databaseUrl: string, keyring: Keyring): Promise<KeyRotation | null> {
  const client = new Client({ connectionString: databaseUrl, application_name: 'berth-rotate-secrets-key' });
  await client.connect();
  try {
    const from = await keyIdInUse(client);
    if (from === null) return null;
    // Without it nothing could be read any more.
    const present = keyring.require(from);
    const left = await encryptAnew(client, keyring, present);
    if (left.values > 0) return { from, to: from, ...left };
    const to = await takeIntoUse(client, keyring, from);
    return { from, to: to.id, ...(await encryptAnew(client, keyring, to)) };
  } finally {
    await client.end();
  }
}

async function keyIdInUse(client: Client): Promise<string | null> {
  const { rows } = await client.query<{ key_id: string }>('select key_id from secrets_key');
  return rows[0]?.key_id ?? null;
}

/** Waits for those who write under the old key; whoever comes later writes under the new one. */
async function takeIntoUse(client: Client, keyring: Keyring, from: string): Promise<MasterKey> {
  const key = keyring.newerThan(from);
  if (!key) {
    throw new StartupError(
      'There is no newer key than the one in use. Put a new one (openssl rand -base64 32) and a comma before the present ' +
        'one in BERTH_SECRETS_KEY, restart every Berth with that, and call this again.',
    );
  }
  const { rowCount } = await client.query('update secrets_key set key_id = $2, rotated_at = now() where key_id = $1', [
    from,
    key.id,
  ]);
  if (rowCount) return key;
  throw new StartupError('Another rotation of the key has begun meanwhile: call this again when it has ended.');
}

async function encryptAnew(client: Client, keyring: Keyring, key: MasterKey): Promise<Encrypted> {
  const encrypted: Encrypted = { values: 0, unreadable: [] };
  for (let after = { secret_id: NIL, version: 0 }; ;) {
    await client.query('begin');
    const { rows } = await client.query<StoredVersion>(
      `select ${VERSION_COLUMNS} from secret_versions v where (v.secret_id, v.version) > ($1, $2)
       order by v.secret_id, v.version limit ${PAGE} for update`,
      [after.secret_id, after.version],
    );
    for (const row of rows) if (row.key_id !== key.id) await encryptVersion(client, keyring, key, row, encrypted);
    await client.query('commit');
    if (rows.length < PAGE) return encrypted;
    after = rows[rows.length - 1];
  }
}

/** One value that cannot be read does not keep the others from it. */
async function encryptVersion(
  client: Client,
  keyring: Keyring,
  key: MasterKey,
  row: StoredVersion,
  encrypted: Encrypted,
): Promise<void> {
  const place = { companyId: row.company_id, secretId: row.secret_id, version: row.version };
  const stored = { keyId: row.key_id, nonce: row.nonce, ciphertext: row.ciphertext };
  try {
    const { keyId, nonce, ciphertext } = seal(key, place, open(keyring.require(row.key_id), place, stored));
    await client.query(
      'update secret_versions set key_id = $3, nonce = $4, ciphertext = $5 where secret_id = $1 and version = $2',
      [row.secret_id, row.version, keyId, nonce, ciphertext],
    );
    encrypted.values += 1;
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    encrypted.unreadable.push(error.message);
  }
}

const NIL = '00000000-0000-0000-0000-000000000000';
