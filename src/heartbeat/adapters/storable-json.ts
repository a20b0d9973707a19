const MAX_DEPTH = 50;

/** Bytes that a stranger sent, as text that the database takes: it has no NUL character. */
export const storableText = (bytes: Buffer): string => bytes.toString('utf8').replaceAll('\0', '\ufffd');

/**
 * `{ json }` with what the text means, or nothing where that is no JSON or the database could not take it: NUL
 * characters, halves of characters and bottomless nesting would each make every attempt to store the run fail.
 */
export function storableJson(text: string): { json?: unknown } {
  try {
    const json: unknown = JSON.parse(text);
    const unstorable = isDeeperThan(json, MAX_DEPTH) || /\\u(0000|d[89a-f])/i.test(JSON.stringify(json));
    return unstorable ? {} : { json };
  } catch {
    return {};
  }
}

function isDeeperThan(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some((inner) => isDeeperThan(inner, levels - 1));
}
