import { get, type ClientRequest, type IncomingMessage } from 'node:http';
import type { Entry } from './activity-harness.js';

/** A client of the stream that keeps what it gets, and the id of the last event. */
export class StreamClient {
  readonly entries: Entry[] = [];
  /** The id of each entry's event. */
  readonly eventIds: string[] = [];
  lastEventId: string;
  ended = false;
  private buffer = '';
  private waiting: (() => void)[] = [];

  private constructor(
    private readonly request: ClientRequest,
    readonly answer: IncomingMessage,
    lastEventId: string,
  ) {
    this.lastEventId = lastEventId;
    answer.on('data', (chunk: Buffer) => this.take(chunk.toString('utf8')));
    answer.on('close', () => {
      this.ended = true;
      this.wake();
    });
    answer.on('error', () => undefined);
  }

  /** Returns once the server has answered, and, if it streams, said from where. */
  static async open(url: string, lastEventId = '', headers: Record<string, string> = {}): Promise<StreamClient> {
    const resume = lastEventId ? { 'last-event-id': lastEventId } : {};
    const client = await new Promise<StreamClient>((resolve, reject) => {
      const request = get(url, { headers: { ...headers, ...resume }, agent: false }, (answer) =>
        resolve(new StreamClient(request, answer, lastEventId)),
      );
      request.on('error', reject);
    });
    client.request.removeAllListeners('error').on('error', () => undefined);
    if (client.answer.statusCode === 200) await client.until(() => client.lastEventId !== '');
    return client;
  }

  /** Returns once the condition holds, or fails. */
  async until(condition: () => boolean, ms = 10_000): Promise<void> {
    const deadline = setTimeout(() => this.wake(), ms);
    const start = Date.now();
    while (!condition()) {
      if (Date.now() - start >= ms) throw new Error(`The stream delivered ${this.entries.length} entries in ${ms} ms`);
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
    clearTimeout(deadline);
  }

  /** Loses the connection, as a client does that is killed. */
  cut(): void {
    this.request.destroy();
  }

  private take(text: string): void {
    if (this.ended) return;
    this.buffer += text;
    const events = this.buffer.split('\n\n');
    this.buffer = events.pop() ?? '';
    for (const event of events) this.takeEvent(event.split('\n'));
    this.wake();
  }

  private takeEvent(lines: string[]): void {
    for (const line of lines) {
      if (line.startsWith('id: ')) this.lastEventId = line.slice(4);
      if (!line.startsWith('data: ')) continue;
      this.entries.push(JSON.parse(line.slice(6)) as Entry);
      this.eventIds.push(this.lastEventId);
    }
  }

  private wake(): void {
    for (const resolve of this.waiting.splice(0)) resolve();
  }
}
