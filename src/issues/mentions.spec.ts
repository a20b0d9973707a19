import { mentionedIds } from './mentions.js';

const CREW = [
  { id: 'bob', name: 'Bob' },
  { id: 'bobby', name: 'Bob the Mate' },
  { id: 'élodie', name: 'Élodie' },
  { id: 'v2', name: 'cook.v2' },
  { id: 'twin-1', name: 'Twin' },
  { id: 'twin-2', name: 'twin' },
  { id: 'blank', name: ' ' },
];

describe(mentionedIds.name, () => {
  it.each([
    ['@Bob', ['bob']],
    ['ask @bob, please', ['bob']],
    ['(@BOB) @bob: @bob’s', ['bob']],
    ['done.@bob!', ['bob']],
    ['[@Bob](agent://1)', ['bob']],
    ['@bob the mate, look', ['bobby']],
    ['@Bob  the\nMate', ['bobby']],
    ['@bob the mates', ['bob']],
    ['@ÉLODIE and @e\u0301lodie', ['élodie']],
    ['@cook.v2.', ['v2']],
    ['@élodie, then @bob, then @élodie', ['élodie', 'bob']],
    ['@twin', ['twin-1', 'twin-2']],
  ])('finds in %j %j', (text, ids) => {
    expect(mentionedIds(text, CREW, null)).toEqual(ids);
  });

  it.each([
    'bob',
    '@bobby',
    'mail captain@bob',
    'captain+x@bob.example',
    'a-@bob',
    '@bob.example',
    '@bob-like',
    '@bob2',
    '@ bob',
    '@@bob',
    'https://harbour.example/@bob',
    '@',
    '@nobody',
  ])('finds nobody in %j', (text) => {
    expect(mentionedIds(text, CREW, null)).toEqual([]);
  });

  it('leaves out the author', () => {
    expect(mentionedIds('@bob and @élodie', CREW, 'bob')).toEqual(['élodie']);
  });

  it('finds 20 at most, the first ones', () => {
    const many = Array.from({ length: 30 }, (_, n) => ({ id: `${n}`, name: `hand ${n}` }));
    const text = many.map(({ name }) => `@${name}`).join(' ');
    expect(mentionedIds(text, many, '0')).toEqual(many.slice(1, 21).map(({ id }) => id));
  });

  it('reads a long text full of calls to its end, within the time of a test', () => {
    const many = Array.from({ length: 2000 }, (_, n) => ({ id: `${n}`, name: `${'x'.repeat(n % 150)} ${n}` }));
    expect(mentionedIds('@x '.repeat(21_000), many, null)).toEqual([]);
  });
});
