export interface ProtocolMessage {
  /** The letter that says what it is; '' for the first message of a client, which has none. */
  readonly type: string;
  readonly bytes: Buffer;
}

const TYPE_BYTES = 1;
const LENGTH_BYTES = 4;
/** Of a message with a type: that, and its length. */
export const HEADER_BYTES = TYPE_BYTES + LENGTH_BYTES;

/** Cuts one direction of a connection to PostgreSQL into its messages, however they arrive. */
export class ProtocolMessages {
  private rest: Buffer = Buffer.alloc(0);

  /** @param isIntroduced whether the first message has a type, as all that a server sends have. */
  constructor(private isIntroduced: boolean) {}

  /** @returns the messages that these bytes complete. */
  read(bytes: Buffer): ProtocolMessage[] {
    this.rest = Buffer.concat([this.rest, bytes]);
    const read: ProtocolMessage[] = [];
    for (let message = this.next(); message; message = this.next()) read.push(message);
    return read;
  }

  private next(): ProtocolMessage | null {
    const typeBytes = this.isIntroduced ? TYPE_BYTES : 0;
    if (this.rest.length < typeBytes + LENGTH_BYTES) return null;
    const end = typeBytes + this.rest.readUInt32BE(typeBytes);
    if (this.rest.length < end) return null;
    const message = {
      type: this.isIntroduced ? String.fromCharCode(this.rest[0]) : '',
      bytes: this.rest.subarray(0, end),
    };
    this.isIntroduced = true;
    this.rest = this.rest.subarray(end);
    return message;
  }
}
