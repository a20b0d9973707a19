import { Agent, request } from 'node:http';

/** A client that costs little beside what it measures: connections stay open, answers are read only where needed. */
export class HttpClient implements Disposable {
  private readonly agent = new Agent({ keepAlive: true });
  private readonly url: string;

  constructor(url: string) {
    this.url = url;
  }

  /** @param path under `/api`. */
  get<T>(path: string): Promise<T> {
    return this.send('GET', path);
  }

  /** @throws Error for any answer but a success. */
  post<T>(path: string, body: object = {}): Promise<T> {
    return this.send('POST', path, body);
  }

  /** @throws Error for any answer but a success. */
  patch<T>(path: string, body: object): Promise<T> {
    return this.send('PATCH', path, body);
  }

  [Symbol.dispose](): void {
    this.agent.destroy();
  }

  private send<T>(method: string, path: string, fields?: object): Promise<T> {
    const body = fields ? JSON.stringify(fields) : '';
    const headers =
      body === '' ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    return new Promise((resolve, reject) => {
      const sent = request(`${this.url}/api${path}`, { agent: this.agent, method, headers }, (answer) => {
        const chunks: Buffer[] = [];
        answer.on('data', (chunk: Buffer) => chunks.push(chunk));
        answer.on('error', reject);
        answer.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          if (answer.statusCode! >= 300) reject(new Error(`${method} ${path}: ${answer.statusCode} ${text}`));
          else resolve((text === '' ? undefined : JSON.parse(text)) as T);
        });
      });
      sent.on('error', reject);
      sent.end(body);
    });
  }
}
