import fc from 'fast-check';

const nested = (open: string, close: string, levels: number) =>
  JSON.parse(open.repeat(levels) + '1' + close.repeat(levels)) as unknown;

/** Texts that mean something to somebody on their way: a database, a shell, a path, a header, a parser. */
const TEXTS = [
  ...['', ' ', '\0', 'a\0b', '\ud800', 'a\udc00b', '\u202e', '\ufeff', '\r\nX-Injected: 1', 'a\r\nb', '💥'.repeat(200)],
  ...['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', 'null', 'undefined', 'true', 'NaN'],
  ...["'; drop table companies; --", '$1', '?', '??', '\\', '%', '%00', '%zz', '{}', '[]', '{"$ref":1}', '${7*7}'],
  ...[
    '../../etc/passwd',
    '/..',
    '/srv/../etc',
    '..\\..\\x',
    'C:\\..\\x',
    '//host/share',
    '/dev/null/x',
    'file:///etc/passwd',
  ],
  ...['/proc/self/environ', '~', '.', '/', `/${'x/'.repeat(3000)}`, '/a\0b'],
  ...['http://169.254.169.254/', 'http://[::1]:1/', 'http://x\r\ny/', 'javascript:alert(1)', 'http://', '//'],
  ...['-1', '0', '1e309', '0x10', '9223372036854775808', '٣', '1_000', '1;2', ' 1', '1 '],
  ...[
    'infinity',
    '-infinity',
    'epoch',
    'now',
    '0000-00-00',
    '2026-13-45',
    '+275760-09-13T00:00:00.001Z',
    '99999-01-01',
  ],
  ...[
    '0001-01-01T00:00:00Z',
    '2026-01-01T00:00:00+99:99',
    '4714-11-24 BC',
    '2026-01-01T24:00:00Z',
    '-000001-01-01T00:00:00Z',
  ],
  ...['custom.', 'custom.x', 'environment.lease_acquired', 'BER-1', 'HAR-0', 'HAR-99999999999999999999', 'Bearer x'],
  ...['{00000000-0000-0000-0000-000000000000}', '00000000-0000-0000-0000-000000000000', '0'.repeat(32)],
];

const NUMBERS = [
  ...[0, -0, -1, 1, 0.5, 1e21, 1e308, -1e308, 5e-324, 2 ** 31 - 1, 2 ** 31, -(2 ** 31) - 1, 2 ** 53, 2 ** 53 + 2],
  ...[2 ** 63, 2 ** 64, Number.MAX_SAFE_INTEGER, 86_400, 1_000_000],
];

const STRUCTURES = [
  ...[[], {}, [[]], [null], [{}], { length: -1 }, { then: 1 }, { toJSON: 1 }, { constructor: { name: 'x' } }],
  // As JSON has it: a property of this name, not the object's prototype.
  JSON.parse('{"__proto__":{"isAdmin":true}}') as unknown,
  { 'a\0b': 1 },
  { '\ud800': 1 },
  { a: { b: '\0' } },
  nested('[', ']', 62),
  nested('[', ']', 70),
  nested('{"a":', '}', 65),
  nested('[', ']', 3000),
  Array.from({ length: 5000 }, (_, n) => n),
  Object.fromEntries(Array.from({ length: 3000 }, (_, n) => [`key${n}`, n])),
];

/** Longer than any column, index entry or body takes. */
const LONG = [300, 3000, 20_000, 70_000, 1_100_000].map((length) => 'x'.repeat(length));

/** Any text that somebody may send. */
export const hostileText: fc.Arbitrary<string> = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(...TEXTS) },
  { weight: 2, arbitrary: fc.string({ unit: 'binary', maxLength: 40 }) },
  { weight: 1, arbitrary: fc.string({ unit: 'grapheme', maxLength: 40 }) },
  { weight: 1, arbitrary: fc.constantFrom(...LONG) },
);

/** Any JSON value that somebody may send. */
export const hostileValue: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 6, arbitrary: hostileText },
  { weight: 3, arbitrary: fc.constantFrom<unknown>(...NUMBERS) },
  { weight: 3, arbitrary: fc.constantFrom<unknown>(...STRUCTURES) },
  { weight: 2, arbitrary: fc.constantFrom<unknown>(null, true, false) },
  { weight: 2, arbitrary: fc.jsonValue({ maxDepth: 4 }) },
);
