export const MAX_CHARACTER_BYTES = 4;

const isContinuation = (byte: number | undefined) => byte !== undefined && (byte & 0b1100_0000) === 0b1000_0000;

/** How many bytes the character has that begins with this byte; 1 for what begins none. */
function lengthFrom(byte: number): number {
  if ((byte & 0b1110_0000) === 0b1100_0000) return 2;
  if ((byte & 0b1111_0000) === 0b1110_0000) return 3;
  return (byte & 0b1111_1000) === 0b1111_0000 ? 4 : 1;
}

/** How many bytes at the end of `bytes` are the beginning of a character that is not complete yet: 0 to 3. */
export function incompleteTail(bytes: Buffer): number {
  for (let tail = 1; tail < Math.min(MAX_CHARACTER_BYTES, bytes.length + 1); tail++) {
    const byte = bytes[bytes.length - tail];
    if (!isContinuation(byte)) return lengthFrom(byte) > tail ? tail : 0;
  }
  return 0;
}

/**
 * The highest place up to `max` at which `bytes` can be cut without cutting a character; `max` itself if they are no
 * text. Above zero for every `max` of a whole character and more.
 */
export function cutBefore(bytes: Buffer, max: number): number {
  if (max >= bytes.length) return bytes.length;
  for (let at = max; at > max - MAX_CHARACTER_BYTES && at > 0; at--) {
    if (!isContinuation(bytes[at])) return at;
  }
  return max;
}

/** The first place at which a character begins: 0 to 3, where the beginning of the first one was cut off. */
export function firstCharacter(bytes: Buffer): number {
  const at = bytes.subarray(0, MAX_CHARACTER_BYTES).findIndex((byte) => !isContinuation(byte));
  return Math.max(0, at);
}
