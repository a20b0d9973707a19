import { resultText } from './result-text.js';

describe(resultText.name, () => {
  it('is the result, without what a comment cannot hold', () => {
    expect(resultText(' The quay\0 is clear. \n', 100)).toBe('The quay is clear.');
    expect(resultText('half a \ud83d', 100)).toBe('half a \ufffd');
  });

  it('is nothing for a result that says nothing', () => {
    expect(resultText(' \0\n', 100)).toBeNull();
  });

  it('is cut between two characters, and says so', () => {
    for (let max = 100; max < 104; max += 1) {
      const text = resultText('⚓'.repeat(100), max) ?? '';
      expect(text).toMatch(/^⚓+\n\n\[Cut here: the run's result has 300 bytes\.\]$/u);
      expect(Buffer.byteLength(text)).toBeLessThanOrEqual(max);
      expect(Buffer.byteLength(text)).toBeGreaterThan(max - 3);
    }
  });
});
