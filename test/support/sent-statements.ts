const TYPE_BYTES = 1;
const LENGTH_BYTES = 4;

/** Reads along what one client sends to PostgreSQL, and knows the statements of its transaction. */
export class SentStatements {
  private rest: Buffer = Buffer.alloc(0);
  private introduced = false;
  private transaction: string[] = [];
  /** Texts of prepared statements by their names; they are sent by name alone from then on. */
  private readonly prepared = new Map<string, string>();

  /** @returns the statements of the transaction that these bytes commit, or null when they commit none. */
  committedBy(bytes: Buffer): string[] | null {
    let committed: string[] | null = null;
    for (const text of this.read(bytes)) {
      if (text === 'begin') this.transaction = [];
      else if (text === 'commit') committed = this.transaction;
      else this.transaction.push(text);
    }
    return committed;
  }

  /** @returns the statements that these bytes complete. */
  read(bytes: Buffer): string[] {
    this.rest = Buffer.concat([this.rest, bytes]);
    const read: string[] = [];
    for (let text = this.next(); text !== null; text = this.next()) if (text !== '') read.push(text);
    return read;
  }

  /** Takes the next whole message: its statement, '' if it carries none, null when there is no whole one. */
  private next(): string | null {
    // The first message alone has no type.
    const typeBytes = this.introduced ? TYPE_BYTES : 0;
    if (this.rest.length < typeBytes + LENGTH_BYTES) return null;
    const end = typeBytes + this.rest.readUInt32BE(typeBytes);
    if (this.rest.length < end) return null;
    const type = this.introduced ? String.fromCharCode(this.rest[0]) : 'startup';
    const fields = this.rest
      .subarray(typeBytes + LENGTH_BYTES, end)
      .toString()
      .split('\0');
    this.introduced = true;
    this.rest = this.rest.subarray(end);
    if (type === 'Q') return fields[0].trim().toLowerCase();
    // Prepared under the name in its first field, and executed by binding values to the name in the second.
    if (type === 'P') this.prepared.set(fields[0], fields[1].trim().toLowerCase());
    return type === 'B' ? (this.prepared.get(fields[1]) ?? '') : '';
  }
}
