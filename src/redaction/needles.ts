/** The shortest value that is taken out: anything shorter would be found in text that has nothing to do with it. */
export const MIN_SECRET_LENGTH = 6;
/** Words of a value that are secret by themselves: a line of a PEM key, a token after its `Bearer`. */
const MIN_WORD_LENGTH = 12;
/** What stands before a token in a header; the token is a word of its own, however short. */
const SCHEME = /^(?:bearer|basic|token|apikey)\s+(\S+)$/i;

/**
 * The byte sequences by which a value is recognised: as it is, in the forms in which programs print it, and its long words.
 * Values that are too short give none.
 */
export function needlesOf(values: readonly string[]): Buffer[] {
  const wholes = values.map((value) => value.trim()).filter((whole) => whole.length >= MIN_SECRET_LENGTH);
  const texts = new Set([...wholes.flatMap(formsOf), ...wholes.flatMap(wordsOf)]);
  return [...texts].map((text) => Buffer.from(text));
}

/** Words only as they are: of a PEM key there are many, and each is looked for in all output. */
function wordsOf(whole: string): string[] {
  const token = SCHEME.exec(whole)?.[1] ?? '';
  const words = whole.split(/\s+/).filter((word) => word.length >= MIN_WORD_LENGTH && !/^-+\w*$|^\w*-+$/.test(word));
  return token.length < MIN_SECRET_LENGTH ? words : [...words, ...formsOf(token)];
}

function formsOf(text: string): string[] {
  const base64 = base64FormsOf(text);
  const base64Url = base64.map((form) => form.replaceAll('+', '-').replaceAll('/', '_'));
  return [text, JSON.stringify(text).slice(1, -1), encodeURIComponent(text), ...base64, ...base64Url];
}

/** How its bytes look inside of a longer text in base64, where they begin at any of the three bytes of a group. */
function base64FormsOf(text: string): string[] {
  const bytes = Buffer.from(text);
  return [0, 1, 2].map((before) => {
    const encoded = Buffer.concat([Buffer.alloc(before), bytes])
      .toString('base64')
      .replaceAll('=', '');
    // Without the characters that hold bits of what stands before or after.
    const bits = (before + bytes.length) * 8;
    return encoded.slice(Math.ceil((before * 8) / 6), Math.floor(bits / 6));
  });
}
