/** What stands where a secret was. */
export const REDACTED = '[redacted]';

/** Names whose values are secrets, by their words in small letters: `SECRET_KEY_BASE` and `secretKeyBase` are the same. */
const SECRET = new RegExp(
  [
    '(secret|password|passwd|passphrase|passcode|token|credential)s?\\b',
    '(api|access|private|secret|signing|signature|encryption|decryption|master|bootstrap|ssh|gpg|pgp|hmac|auth|account|' +
      'storage|shared|service|deploy|license) ?keys?\\b',
    'conn(ection)? ?str(ing)?s?\\b',
    // What follows these is not what they name: the domain of a cookie, the count of a pass.
    '(authorization|cookie)s?$',
    '\\b(pass|creds?|dsn|jwt|otp|pat)$',
    // Alone, these are a directory and a way.
    ' (pwd|auth)$',
  ].join('|'),
);
/** Names of what is said about a secret, and of what is none here. */
const NOT_SECRET = new RegExp(
  '\\b(ids?|refs?|names?|types?|kind|version|files?|path|dir|directory|endpoint|ur[il]|at|counts?|limit|length|size|ttl|' +
    'sec|ms|usage|budget|policy|fencing token|last pass)$',
);
/** A text that has a password in it, whatever its name: `postgres://berth:correct-horse@db/berth`. */
const URL_WITH_PASSWORD = /^[a-z][a-z\d+.-]*:\/\/[^/\s:@]*:[^/\s@]+@/i;

/**
 * A copy without the values of fields that are obviously secrets. It is the second line of defence: an event's details
 * should hold no secret in the first place.
 */
export function withoutSecrets(details: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(details).map(([name, value]) => [name, redact(name, value)]));
}

/** The texts and numbers that are obviously secrets, however deep. */
export function textsNamedSecret(json: unknown): string[] {
  if (typeof json !== 'object' || json === null) return [];
  return Object.entries(json).flatMap(([name, value]) =>
    isSecret(name, value) ? textsIn(value) : textsNamedSecret(value),
  );
}

/** As far as names tell. What is set or not, and how many tokens of a language there were, is no secret. */
function isSecret(name: string, value: unknown): boolean {
  if (typeof value === 'boolean' || value === null) return false;
  if (typeof value === 'string' && URL_WITH_PASSWORD.test(value)) return true;
  const { ofAnything, ofCounts } = verdictOn(name);
  return ofAnything && (ofCounts || !isCount(value));
}

/** Whether a name says that its value is a secret, and whether also if that is a count. */
interface Verdict {
  readonly ofAnything: boolean;
  readonly ofCounts: boolean;
}

/** Of the names that come again with every event; callers can make up any number of others. */
const verdicts = new Map<string, Verdict>();
const KEPT_VERDICTS = 1000;
const LONGEST_KEPT = 64;

function verdictOn(name: string): Verdict {
  const known = verdicts.get(name);
  if (known) return known;
  const words = wordsOf(name);
  const says = (text: string) => !NOT_SECRET.test(words) && SECRET.test(text);
  const verdict = { ofAnything: says(words), ofCounts: says(words.replaceAll(/\btokens\b/g, '')) };
  if (verdicts.size < KEPT_VERDICTS && name.length <= LONGEST_KEPT) verdicts.set(name, verdict);
  return verdict;
}

/** `HTTPApiKey2` has the words `http api key`. */
function wordsOf(name: string): string {
  const apart = name.replaceAll(/([a-z])(?=[A-Z])|([A-Z])(?=[A-Z][a-z])/g, '$& ');
  return (apart.toLowerCase().match(/[a-z]+/g) ?? []).join(' ');
}

/** A number, or a set of them such as `{ input: 5, output: 7 }`. */
function isCount(value: unknown): boolean {
  if (typeof value === 'object' && value !== null) return Object.values(value).every(isCount);
  return typeof value === 'string' ? /^\d+$/.test(value) : true;
}

function textsIn(json: unknown): string[] {
  if (typeof json === 'string' || typeof json === 'number') return [String(json)];
  return typeof json === 'object' && json !== null ? Object.values(json).flatMap(textsIn) : [];
}

function redact(name: string, value: unknown): unknown {
  if (isSecret(name, value)) return REDACTED;
  if (Array.isArray(value)) return value.map((item) => redact('', item));
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  return withoutSecrets(value as Record<string, unknown>);
}
