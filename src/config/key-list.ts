const KEY_BYTES = 32;
const HEX = /^[0-9a-f]{64}$/i;
const BASE64 = /^[A-Za-z0-9+/_-]{43}=?$/;

/**
 * Keys of 256 bits, each in hexadecimal or base64, separated by commas or white space.
 * @returns null where something else stands between them, or nothing at all.
 */
export function keysIn(text: string): Buffer[] | null {
  const words = text.split(/[\s,]+/).filter((word) => word !== '');
  const keys = words.map((word) => (HEX.test(word) ? Buffer.from(word, 'hex') : base64(word)));
  const complete = keys.filter((key) => key?.length === KEY_BYTES) as Buffer[];
  return complete.length > 0 && complete.length === words.length ? complete : null;
}

const base64 = (word: string) => (BASE64.test(word) ? Buffer.from(word, 'base64') : null);
