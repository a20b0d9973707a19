/** Puts lines together from text that arrives in pieces, of any size. */
export class LineReader {
  private pieces: string[] = [];

  /** @returns the lines that the text completes. */
  take(text: string): string[] {
    const lines = text.split('\n');
    this.pieces.push(lines.shift()!);
    if (lines.length === 0) return [];
    lines.unshift(this.pieces.join(''));
    this.pieces = [lines.pop()!];
    return lines;
  }
}
