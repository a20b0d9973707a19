import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { HEADER_BYTES, ProtocolMessages, type ProtocolMessage } from './protocol-messages.js';
import { SentStatements } from './sent-statements.js';

/**
 * What becomes of a commit whose connection is cut: it never reaches the server; it is executed and its reply is lost;
 * or it reaches the server only after the client has lost the connection and begun to wonder.
 */
export type Cut = 'before' | 'after' | 'late';

/** How much later a late commit is executed, in milliseconds. */
const LATE_MS = 700;

interface OrderedCut {
  readonly cut: Cut;
  readonly matching: RegExp;
  left: number;
  done(): void;
}

/** Stands between an application and PostgreSQL, and fails the way networks do. */
export class DatabaseProxy {
  private readonly connections = new Set<ProxiedConnection>();
  private state: 'passing' | 'away' | 'stalled' = 'passing';
  private lagMs = 0;
  private ordered: OrderedCut | null = null;

  private constructor(
    private readonly server: Server,
    private readonly database: Client,
  ) {
    server.on('connection', (client) => this.accept(client));
  }

  /** @param databaseUrl where the real server listens, on TCP or in a socket directory. */
  static async start(databaseUrl: string): Promise<DatabaseProxy> {
    // Whoever is left half open is not answered, not even a goodbye.
    const server = createServer({ allowHalfOpen: true });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new DatabaseProxy(server, new Client(databaseUrl));
  }

  /** The database's address by way of this proxy. */
  get url(): string {
    const { port } = this.server.address() as AddressInfo;
    const { user, password, database } = this.database;
    return `postgres://${user}:${encodeURIComponent(password ?? '')}@127.0.0.1:${port}/${database}`;
  }

  /** Hangs up on everybody and on whoever calls, until `comeBack`. */
  goAway(): void {
    this.state = 'away';
    for (const connection of this.connections) connection.destroy();
  }

  /** Keeps connections open and lets nothing through, until `comeBack`, which delivers what has waited. */
  stall(): void {
    this.state = 'stalled';
    for (const connection of this.connections) connection.pause();
  }

  comeBack(): void {
    this.state = 'passing';
    this.lagMs = 0;
    for (const connection of this.connections) connection.resume();
  }

  /** Delivers everything so much later, in both directions, until `comeBack`. */
  slowDown(lagMs: number): void {
    this.lagMs = lagMs;
  }

  /** Hangs up on everybody; whoever calls again gets through. */
  hangUp(): void {
    for (const connection of this.connections) connection.destroy();
  }

  /** Leaves the connections that there are half open: neither side is heard any more, and neither is told. */
  abandon(): void {
    for (const connection of this.connections) connection.abandon();
  }

  /**
   * Cuts the connection at the commit of a transaction that contained a statement like this.
   * @param nth which of those commits, from 1.
   * @returns a promise of its having happened, a late commit's execution included.
   */
  cutCommit(cut: Cut, matching: RegExp, nth = 1): Promise<void> {
    return new Promise((done) => (this.ordered = { cut, matching, left: nth, done }));
  }

  async close(): Promise<void> {
    this.goAway();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private accept(client: Socket): void {
    if (this.state === 'away') return void client.destroy();
    const { host, port } = this.database;
    const server = host.startsWith('/') ? connect(`${host}/.s.PGSQL.${port}`) : connect(port, host);
    const connection = new ProxiedConnection(
      client,
      server,
      (transaction) => this.cutFor(transaction),
      () => this.lagMs,
    );
    this.connections.add(connection);
    client.on('close', () => this.connections.delete(connection));
    if (this.state === 'stalled') connection.pause();
  }

  private cutFor(transaction: string[]): OrderedCut | null {
    const { ordered } = this;
    if (!ordered || !transaction.some((text) => ordered.matching.test(text))) return null;
    ordered.left -= 1;
    if (ordered.left > 0) return null;
    this.ordered = null;
    return ordered;
  }
}

class ProxiedConnection {
  private readonly statements = new SentStatements();
  private readonly answers = new ProtocolMessages(true);
  private cutting: OrderedCut | null = null;
  private isAbandoned = false;
  private readonly toClient: Line;
  private readonly toServer: Line;

  constructor(
    private readonly client: Socket,
    private readonly server: Socket,
    /** Asked at each commit, with the transaction's statements. */
    private readonly cutFor: (transaction: string[]) => OrderedCut | null,
    lagMs: () => number,
  ) {
    this.toClient = new Line(client, lagMs);
    this.toServer = new Line(server, lagMs);
    client.on('data', (bytes) => this.fromClient(bytes));
    server.on('data', (bytes) => this.fromServer(bytes));
    for (const socket of [client, server]) socket.on('error', () => undefined);
    client.on('end', () => this.isAbandoned || client.end());
    client.on('close', () => this.cutting?.cut !== 'late' && server.destroy());
    server.on('close', () => this.isAbandoned || client.destroy());
  }

  /** The server is told that its client has gone, as its host would find out in time; the client never hears of it. */
  abandon(): void {
    this.isAbandoned = true;
    this.server.destroy();
  }

  destroy(): void {
    this.client.destroy();
    this.server.destroy();
  }

  pause(): void {
    this.client.pause();
    this.server.pause();
  }

  resume(): void {
    this.client.resume();
    this.server.resume();
  }

  private fromClient(bytes: Buffer): void {
    if (this.isAbandoned) return;
    const committed = this.statements.committedBy(bytes);
    this.cutting ??= committed && this.cutFor(committed);
    switch (this.cutting?.cut) {
      case 'before':
        this.destroy();
        return this.cutting.done();
      case 'late':
        return void this.commitLate(bytes);
      default:
        this.toServer.write(bytes);
    }
  }

  /** While a connection is being cut its client hears no more. */
  private fromServer(bytes: Buffer): void {
    const answers = this.answers.read(bytes);
    if (!this.cutting) return this.toClient.write(bytes);
    // What was sent together with the commit is answered before it.
    if (!answers.some(isCommitted)) return;
    this.destroy();
    this.cutting.done();
  }

  private async commitLate(bytes: Buffer): Promise<void> {
    this.client.destroy();
    await delay(LATE_MS);
    this.server.write(bytes);
  }
}

const COMMITTED = Buffer.from('COMMIT\0');
const isCommitted = ({ type, bytes }: ProtocolMessage) =>
  type === 'C' && bytes.subarray(HEADER_BYTES).equals(COMMITTED);

/** One direction of a connection, which keeps its order however late it is. */
class Line {
  private behind = 0;
  private last: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly end: Socket,
    private readonly lagMs: () => number,
  ) {}

  write(bytes: Buffer): void {
    const lagMs = this.lagMs();
    if (lagMs === 0 && this.behind === 0) return void this.end.write(bytes);
    this.behind += 1;
    this.last = this.last
      .then(() => delay(lagMs))
      .then(() => {
        this.behind -= 1;
        if (this.end.writable) this.end.write(bytes);
      });
  }
}
