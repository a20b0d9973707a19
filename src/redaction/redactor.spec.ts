import fc from 'fast-check';
import { RedactedStream } from './redacted-stream.js';
import { Redactor } from './redactor.js';

const VALUE = 'correct-horse-batt€ry';
const PEM = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIHcHbQpzGKV9PBbBclGyZkXfTC
+H68CZKrF3+6UduSwq
-----END PRIVATE KEY-----
`;

/** What a stream shows of pieces, one after the other, and at its end. */
function shown(redactor: Redactor, pieces: (string | Buffer)[]): string[] {
  const stream = new RedactedStream(redactor);
  const parts = pieces.map((piece) => stream.push(Buffer.from(piece)));
  return [...parts, stream.finish()].map((part) => part.toString());
}

describe(Redactor.name, () => {
  const redactor = new Redactor([VALUE]);

  it.each([
    ['as it is', `it is ${VALUE}!`, 'it is [redacted]!'],
    ['twice', `${VALUE}${VALUE}`, '[redacted][redacted]'],
    ['in a URL', `?key=${encodeURIComponent(VALUE)}`, '?key=[redacted]'],
    ['nowhere', 'correct-horse', 'correct-horse'],
  ])('takes a value out of a text: %s', (_where, text, redacted) => {
    expect(redactor.text(text)).toBe(redacted);
  });

  it('recognises a value in base64, whatever stands around it', () => {
    for (const before of ['', 'u', 'us', 'user:']) {
      for (const after of ['', '\n', '--']) {
        for (const encoding of ['base64', 'base64url'] as const) {
          const encoded = Buffer.from(`${before}${VALUE}${after}`).toString(encoding);
          expect(redactor.text(`Basic ${encoded}`)).toMatch(/^Basic .{0,8}\[redacted\].{0,8}$/);
        }
      }
    }
  });

  it('recognises a value of several lines by each of its long lines, and in JSON', () => {
    const pem = new Redactor([PEM]);
    for (const line of PEM.split('\n').slice(1, 3)) expect(pem.text(`> ${line} <`)).toBe('> [redacted] <');
    expect(pem.text(JSON.stringify({ PEM }))).toBe('{"PEM":"[redacted]\\n"}');
    expect(pem.text('-----BEGIN PRIVATE KEY-----')).toBe('-----BEGIN PRIVATE KEY-----');
  });

  it('recognises a token without the word that stands before it in a header', () => {
    expect(new Redactor(['Bearer s3cr3t']).text('token=s3cr3t')).toBe('token=[redacted]');
  });

  it('takes the longest of several values', () => {
    const both = new Redactor(['abcdef', 'abcdefgh']);
    expect(both.text('abcdefgh abcdefg')).toBe('[redacted] [redacted]g');
    expect(shown(both, ['abcdef', 'gh']).join('')).toBe('[redacted]');
    expect(shown(both, ['abcdef', 'ah']).join('')).toBe('[redacted]ah');
  });

  it('takes values out of JSON, wherever they stand, and leaves the rest as it is', () => {
    const value = { [`a ${VALUE}`]: [{ b: VALUE, n: 1, at: new Date(0), no: null }] };
    expect(redactor.json(value)).toEqual({ 'a [redacted]': [{ b: '[redacted]', n: 1, at: new Date(0), no: null }] });
    expect(new Redactor(['1234567']).json({ pin: 1234567 })).toEqual({ pin: '[redacted]' });
    const harmless = { a: ['b'] };
    expect(redactor.json(harmless)).toBe(harmless);
  });

  it('looks for nothing that is too short to be told from other text', () => {
    expect(new Redactor(['abcde', ' x ', '']).text('abcde x')).toBe('abcde x');
  });
});

describe(RedactedStream.name, () => {
  const redactor = new Redactor([VALUE]);

  it('finds a value that comes byte by byte, within characters too', () => {
    const bytes = [...Buffer.from(`before ${VALUE} after`)].map((byte) => Buffer.from([byte]));
    expect(shown(redactor, bytes).join('')).toBe('before [redacted] after');
  });

  it('holds back nothing but what could still become a value', () => {
    expect(shown(redactor, ['building…\n', 'it is corr', 'upt\n'])).toEqual(['building…\n', 'it is ', 'corrupt\n', '']);
    expect(shown(redactor, ['ends with correct-hor'])).toEqual(['ends with ', 'correct-hor']);
  });

  it('passes on the very bytes that came, where there is nothing in them', () => {
    const piece = Buffer.from('x'.repeat(100));
    expect(new RedactedStream(redactor).push(piece).buffer).toBe(piece.buffer);
    expect(shown(new Redactor([]), ['a', 'b'])).toEqual(['a', 'b', '']);
  });

  it('shows the same, wherever output is cut', () => {
    const values = ['aabaab', 'aabaabaa', 'abaaba-c', 'cdcdcd'];
    const several = new Redactor(values);
    const output = fc.array(fc.constantFrom('a', 'b', 'c', 'd', '-', ...values), { maxLength: 30 });
    const cuts = fc.array(fc.nat(60), { maxLength: 8 });
    fc.assert(
      fc.property(output, cuts, (words, at) => {
        const text = words.join('');
        const places = [0, ...at.filter((place) => place < text.length).sort((a, b) => a - b), text.length];
        const pieces = places.slice(1).map((end, index) => text.slice(places[index], end));
        const whole = shown(several, pieces).join('');
        for (const value of values) expect(whole).not.toContain(value);
        expect(whole).toBe(several.text(text));
      }),
      { numRuns: 500 },
    );
  });
});
