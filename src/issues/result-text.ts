/**
 * A run's result as the text of a comment.
 * @param maxBytes how long it may be, in bytes of UTF-8; what is longer is cut between two characters, and says so.
 * @returns null where there is nothing to say.
 */
export function resultText(result: string, maxBytes: number): string | null {
  // PostgreSQL keeps no NUL in a text.
  const text = result.replaceAll('\0', '').trim();
  const bytes = Buffer.from(text);
  if (bytes.length === 0) return null;
  if (bytes.length <= maxBytes) return bytes.toString();
  const note = `\n\n[Cut here: the run's result has ${bytes.length} bytes.]`;
  const kept = new TextDecoder().decode(bytes.subarray(0, maxBytes - Buffer.byteLength(note)), { stream: true });
  return kept + note;
}
