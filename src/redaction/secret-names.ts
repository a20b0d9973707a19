/** Names of fields whose values are secrets, however they are written. */
const SECRET_NAME =
  /(secret|password|passwd|passphrase|api[-_]?key|access[-_]?key|private[-_]?key|authorization|cookie|credentials?|(^|[-_a-z])token)$/i;
/** Ends like a secret, and is a number that everybody may see. */
const NOT_SECRET = new Set(['fencingToken', 'fencing_token']);

/** What stands where a secret was. */
export const REDACTED = '[redacted]';

/** Whether what stands under this name is a secret, as far as names tell. */
export const isSecretName = (name: string): boolean => SECRET_NAME.test(name) && !NOT_SECRET.has(name);

/**
 * A copy without the values of fields that are obviously secrets. It is the second line of defence: an event's details
 * should hold no secret in the first place.
 */
export function withoutSecrets(details: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(details).map(([name, value]) => [name, redact(name, value)]));
}

/** The texts that stand under names of secrets, however deep. */
export function textsNamedSecret(json: unknown): string[] {
  if (typeof json !== 'object' || json === null) return [];
  return Object.entries(json).flatMap(([name, value]) =>
    isSecretName(name) ? textsIn(value) : textsNamedSecret(value),
  );
}

function textsIn(json: unknown): string[] {
  if (typeof json === 'string') return [json];
  return typeof json === 'object' && json !== null ? Object.values(json).flatMap(textsIn) : [];
}

function redact(name: string, value: unknown): unknown {
  const counts = typeof value === 'number' || typeof value === 'boolean' || value === null;
  if (!counts && isSecretName(name)) return REDACTED;
  return redactNested(value);
}

function redactNested(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(redactNested);
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  return withoutSecrets(value as Record<string, unknown>);
}
