import { LineReader } from './line-reader.js';

describe(LineReader.name, () => {
  it('gives whole lines, however the text is cut', () => {
    const lines = new LineReader();
    expect(lines.take('on')).toEqual([]);
    expect(lines.take('e')).toEqual([]);
    expect(lines.take('\ntwo\n\nfo')).toEqual(['one', 'two', '']);
    expect(lines.take('ur\n')).toEqual(['four']);
    expect(lines.take('five\n')).toEqual(['five']);
  });
});
