import { HEADER_BYTES, ProtocolMessages, type ProtocolMessage } from './protocol-messages.js';

/** Reads along what one client sends to PostgreSQL, and knows the statements of its transaction. */
export class SentStatements {
  private readonly messages = new ProtocolMessages(false);
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
    return this.messages.read(bytes).flatMap((message) => this.statementOf(message) ?? []);
  }

  private statementOf({ type, bytes }: ProtocolMessage): string | undefined {
    const fields = bytes.subarray(HEADER_BYTES).toString().split('\0');
    if (type === 'Q') return fields[0].trim().toLowerCase();
    // Prepared under the name in its first field, and executed by binding values to the name in the second.
    if (type === 'P') this.prepared.set(fields[0], fields[1].trim().toLowerCase());
    return type === 'B' ? this.prepared.get(fields[1]) : undefined;
  }
}
