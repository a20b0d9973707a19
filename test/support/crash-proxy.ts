import { createHash } from 'node:crypto';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { Client } from 'pg';
import { SentStatements } from './sent-statements.js';

/** A moment between two statements at which a process can die. */
export interface CrashPoint {
  /** The same for the same statement after the same ones in its transaction. */
  readonly key: string;
  /** Before the statement reaches the server; or when it has been carried out and its answer is not heard. */
  readonly when: 'before' | 'after';
  /** The transaction's statements up to this one; this one alone outside of a transaction. */
  readonly statements: readonly string[];
}

interface OrderedCrash {
  readonly key: string;
  readonly kill: () => void;
  readonly happened: () => void;
}

/** The last message of an answer: the server is ready for what comes next. */
const READY_FOR_QUERY = Buffer.from([0x5a, 0, 0, 0, 5]);
const READY_BYTES = READY_FOR_QUERY.length + 1;
const WRITES = /^(insert|update|delete|with\b.*\b(insert|update|delete)\b)/s;

/** Stands between processes and PostgreSQL, knows the boundaries of what they send, and kills one exactly there. */
export class CrashProxy {
  private readonly connections = new Set<Connection>();
  private points = new Map<string, CrashPoint>();
  private ordered: OrderedCrash | null = null;

  private constructor(
    private readonly server: Server,
    private readonly database: Client,
  ) {
    server.on('connection', (client) => this.accept(client));
  }

  static async start(databaseUrl: string): Promise<CrashProxy> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new CrashProxy(server, new Client(databaseUrl));
  }

  /** The database's address by way of this proxy. */
  get url(): string {
    const { port } = this.server.address() as AddressInfo;
    const { user, password, database } = this.database;
    return `postgres://${user}:${encodeURIComponent(password ?? '')}@127.0.0.1:${port}/${database}`;
  }

  /** Everything that was passed since the last call, in the order in which it came first. */
  takePassed(): CrashPoint[] {
    const passed = [...this.points.values()];
    this.points = new Map();
    return passed;
  }

  /** Kills whoever next comes to this point. @returns a promise of its having happened. */
  crashAt({ key }: CrashPoint, kill: () => void): Promise<void> {
    return new Promise((happened) => (this.ordered = { key, kill, happened }));
  }

  /** Whoever comes there now lives on. */
  callOff(): void {
    this.ordered = null;
  }

  async close(): Promise<void> {
    this.drop();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private accept(client: Socket): void {
    const { host, port } = this.database;
    const server = host.startsWith('/') ? connect(`${host}/.s.PGSQL.${port}`) : connect(port, host);
    const connection = new Connection(client, server, (point) => this.pass(point));
    this.connections.add(connection);
    client.on('close', () => this.connections.delete(connection));
  }

  /** @returns whether the process has died of it. */
  private pass(point: CrashPoint): boolean {
    if (!this.points.has(point.key)) this.points.set(point.key, point);
    const { ordered } = this;
    if (ordered?.key !== point.key) return false;
    this.ordered = null;
    ordered.kill();
    this.drop();
    ordered.happened();
    return true;
  }

  /** Nothing that a dead process has sent goes on. */
  private drop(): void {
    for (const connection of this.connections) connection.destroy();
  }
}

class Connection {
  private readonly sent = new SentStatements();
  /** The statements of the transaction that is open; null outside of one. */
  private transaction: string[] | null = null;
  /** What was carried out when the next answer is complete. */
  private asked: CrashPoint | null = null;
  private tail: Buffer = Buffer.alloc(0);

  constructor(
    private readonly client: Socket,
    private readonly server: Socket,
    private readonly dies: (point: CrashPoint) => boolean,
  ) {
    client.on('data', (bytes) => this.fromClient(bytes));
    server.on('data', (bytes) => this.fromServer(bytes));
    for (const socket of [client, server]) socket.on('error', () => undefined);
    client.on('close', () => server.destroy());
    server.on('close', () => client.destroy());
  }

  destroy(): void {
    this.client.destroy();
    this.server.destroy();
  }

  private fromClient(bytes: Buffer): void {
    for (const text of this.sent.read(bytes)) if (this.dies(this.pointBefore(text))) return;
    this.server.write(bytes);
  }

  private fromServer(bytes: Buffer): void {
    this.tail = Buffer.concat([this.tail, bytes]).subarray(-READY_BYTES);
    if (this.asked && this.tail.subarray(0, -1).equals(READY_FOR_QUERY)) {
      const { asked } = this;
      this.asked = null;
      if (this.dies(asked)) return;
    }
    this.client.write(bytes);
  }

  /** What is carried out for good is also a point once it is; anything else is undone with the connection. */
  private pointBefore(text: string): CrashPoint {
    if (text === 'begin') this.transaction = [];
    else this.transaction?.push(text);
    const statements = this.transaction ?? [text];
    const isFinal = text === 'commit' || (this.transaction === null && WRITES.test(text));
    if (isFinal) this.asked = pointAt('after', statements);
    const point = pointAt('before', statements);
    if (text === 'commit' || text === 'rollback') this.transaction = null;
    return point;
  }
}

function pointAt(when: CrashPoint['when'], statements: readonly string[]): CrashPoint {
  const normal = statements.map(normalised);
  const key = createHash('sha256')
    .update(`${when} ${normal.join('\n')}`)
    .digest('hex')
    .slice(0, 12);
  return { key, when, statements: normal };
}

/** However many rows or values it has. */
const normalised = (text: string) =>
  text
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/\$\d+/g, '$')
    .replaceAll(/(\((?:(?:\$|default|null)(?:, )?)+\)(?:, )?)+/g, '($)');
