import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { Client } from 'pg';
import { pointsAt, type CrashPoint } from './crash-point.js';
import { ProtocolMessages } from './protocol-messages.js';
import { SentStatements } from './sent-statements.js';

interface OrderedCrash {
  readonly wants: (point: CrashPoint) => boolean;
  readonly kill: () => void;
  readonly happened: (point: CrashPoint) => void;
}

/**
 * Stands between processes and PostgreSQL, knows the boundaries of what they send, and kills one exactly there. On each
 * connection one statement at a time is let through, when the one before has been answered: however many are sent
 * together, all before a boundary have been carried out, and nothing after it.
 */
export class CrashProxy {
  private readonly connections = new Set<Connection>();
  private ordered: OrderedCrash | null = null;

  private constructor(
    private readonly server: Server,
    private readonly database: Client,
    private readonly onPassed: (point: CrashPoint) => void,
  ) {
    server.on('connection', (client) => this.accept(client));
  }

  /** @param onPassed told of every point that somebody comes by. */
  static async start(databaseUrl: string, onPassed: (point: CrashPoint) => void): Promise<CrashProxy> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new CrashProxy(server, new Client(databaseUrl), onPassed);
  }

  /** The database's address by way of this proxy. */
  get url(): string {
    const { port } = this.server.address() as AddressInfo;
    const { user, password, database } = this.database;
    return `postgres://${user}:${encodeURIComponent(password ?? '')}@127.0.0.1:${port}/${database}`;
  }

  /** Kills whoever next comes to a point that is wanted. @returns a promise of its having happened, and where. */
  crashAt(wants: (point: CrashPoint) => boolean, kill: () => void): Promise<CrashPoint> {
    return new Promise((happened) => (this.ordered = { wants, kill, happened }));
  }

  /** Whoever comes to such a point now lives on. */
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
    this.onPassed(point);
    const { ordered } = this;
    if (!ordered?.wants(point)) return false;
    this.ordered = null;
    ordered.kill();
    this.drop();
    ordered.happened(point);
    return true;
  }

  /** Nothing that a dead process has sent goes on. */
  private drop(): void {
    for (const connection of this.connections) connection.destroy();
  }
}

/** Messages that are carried out together, and the statements among them. */
interface Request {
  readonly messages: Buffer[];
  readonly statements: string[];
}

/** After these PostgreSQL says when it is ready for what comes next. */
const ENDS_REQUEST = new Set(['Q', 'S']);
/** What prepares such a request. */
const BELONGS_TO_REQUEST = new Set(['P', 'B', 'D', 'E', 'C']);
const READY_FOR_QUERY = 'Z';
const COMMAND_COMPLETE = 'C';
/** Of what was carried out: a commit, or something that was done to rows. */
const DID_SOMETHING = /^COMMIT|[1-9]\d*$/;

class Connection {
  private readonly toServer = new ProtocolMessages(false);
  private readonly toClient = new ProtocolMessages(true);
  private readonly sent = new SentStatements();
  private request: Request = { messages: [], statements: [] };
  /** Whoever introduces himself is not answered in the same way, and who says goodbye not at all. */
  private readonly requests: (Request & { isAnswered: boolean })[] = [];
  /** The one that is being carried out, with what is for good once it has been. */
  private underWay: { done: CrashPoint | undefined; didSomething: boolean } | null = null;
  /** The statements of the transaction that is open; null outside of one. */
  private transaction: string[] | null = null;

  constructor(
    private readonly client: Socket,
    private readonly server: Socket,
    private readonly dies: (point: CrashPoint) => boolean,
  ) {
    client.on('data', (bytes) => this.fromClient(bytes));
    server.on('data', (bytes) => this.fromServer(bytes));
    for (const socket of [client, server]) {
      socket.setNoDelay(true);
      socket.on('error', () => undefined);
    }
    client.on('close', () => server.destroy());
    server.on('close', () => client.destroy());
  }

  destroy(): void {
    this.requests.length = 0;
    this.client.destroy();
    this.server.destroy();
  }

  private fromClient(bytes: Buffer): void {
    for (const { type, bytes: message } of this.toServer.read(bytes)) {
      this.request.messages.push(message);
      this.request.statements.push(...this.sent.read(message));
      if (BELONGS_TO_REQUEST.has(type)) continue;
      this.requests.push({ ...this.request, isAnswered: ENDS_REQUEST.has(type) });
      this.request = { messages: [], statements: [] };
    }
    this.goOn();
  }

  private fromServer(bytes: Buffer): void {
    const heard: Buffer[] = [];
    for (const { type, bytes: message } of this.toClient.read(bytes)) {
      if (this.underWay && type === COMMAND_COMPLETE) this.underWay.didSomething ||= DID_SOMETHING.test(tagOf(message));
      if (this.underWay && type === READY_FOR_QUERY) {
        const { done, didSomething } = this.underWay;
        this.underWay = null;
        if (done && didSomething && this.dies(done)) return;
      }
      heard.push(message);
    }
    this.client.write(Buffer.concat(heard));
    this.goOn();
  }

  private goOn(): void {
    while (!this.underWay && this.requests.length > 0) {
      const { messages, statements, isAnswered } = this.requests.shift()!;
      let done: CrashPoint | undefined;
      for (const text of statements) {
        const points = this.pointsOf(text);
        if (points.before && this.dies(points.before)) return;
        done = points.after ?? done;
      }
      if (isAnswered) this.underWay = { done, didSomething: false };
      this.server.write(Buffer.concat(messages));
    }
  }

  /** What is carried out for good is also a point once it is; anything else is undone with the connection. */
  private pointsOf(text: string): ReturnType<typeof pointsAt> {
    if (text === 'begin') {
      this.transaction = [];
      return {};
    }
    const points = pointsAt(text, this.transaction);
    if (text === 'commit' || text === 'rollback') this.transaction = null;
    else this.transaction?.push(text);
    return points;
  }
}

/** As in `UPDATE 1`. */
const tagOf = (commandComplete: Buffer) => commandComplete.subarray(5, -1).toString();
