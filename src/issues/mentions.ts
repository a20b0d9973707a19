/** Somebody whom a text can call by name. */
export interface Named {
  readonly id: string;
  readonly name: string;
}

/** Most agents that one text can call. */
const MAX_MENTIONS = 20;
/** What before an `@` makes it part of a word, an e-mail address or a web address. */
const JOINED_BEFORE = /[\p{L}\p{N}_@+%/-]$/u;
/** What after a name makes it part of a longer word or of a domain. */
const JOINED_AFTER = /^[.-]?[\p{L}\p{N}_]/u;

/** Names are compared whatever their case and however their spaces were typed or wrapped. */
const comparable = (text: string) => text.normalize('NFC').toLowerCase().replace(/\s+/gu, ' ');

/** Whether a text can mention anybody at all. */
export const hasMentions = (text: string): boolean => text.includes('@');

/**
 * Who is called by `@name` in a text: the longest name that fits, and everybody of that name if several share it.
 * @param except the author, who does not call itself.
 * @returns ids in the order of their first mention, 20 at most.
 */
export function mentionedIds(text: string, candidates: readonly Named[], except: string | null): string[] {
  const byName = Map.groupBy(candidates, ({ name }) => comparable(name).trim());
  byName.delete('');
  const longestFirst = [...new Set([...byName.keys()].map(({ length }) => length))].sort((a, b) => b - a);
  const said = comparable(text);
  const found = new Set<string>();
  for (let at = said.indexOf('@'); at >= 0 && found.size < MAX_MENTIONS; at = said.indexOf('@', at + 1)) {
    if (JOINED_BEFORE.test(said.slice(Math.max(0, at - 2), at))) continue;
    for (const { id } of calledAt(said, at + 1, byName, longestFirst)) if (id !== except) found.add(id);
  }
  return [...found].slice(0, MAX_MENTIONS);
}

function calledAt(
  said: string,
  start: number,
  byName: Map<string, Named[]>,
  longestFirst: readonly number[],
): readonly Named[] {
  for (const length of longestFirst) {
    const end = start + length;
    const named = byName.get(said.slice(start, end));
    if (named && !JOINED_AFTER.test(said.slice(end, end + 3))) return named;
  }
  return [];
}
