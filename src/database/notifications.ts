import { Injectable, Logger, type OnApplicationShutdown } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import type { Client } from 'pg';
import { WatchedClient } from './watched-client.js';

/** Shortest time between two NOTIFY statements of this process: what comes in between is sent as one. */
const COALESCE_MS = 25;
/** A notification is a commit without content: nobody waits until it is on disk. */
const NOT_WAITED_FOR = '-c synchronous_commit=off';
const NOTIFY = { name: 'notify', text: `select pg_notify(channel, '') from unnest($1::text[]) channel` };
const FIRST_RECONNECT_MS = 100;
const LAST_RECONNECT_MS = 5_000;

/**
 * Hears that something happened on a channel; what, has to be looked up. Also called after every (re)connection, because
 * something may have happened before it.
 * @param byThisProcess whether this very process announced it.
 */
export type NotificationListener = (byThisProcess: boolean) => void;

/**
 * Wakes other processes through PostgreSQL's NOTIFY. A notification is a hint without content that may be lost, so
 * whoever listens also polls. It is sent on a connection of its own after commits, never inside a transaction: there it
 * takes a lock on the whole database cluster at commit, which cost two thirds of the commits at 8 writers.
 */
@Injectable()
export class DatabaseNotifications implements OnApplicationShutdown {
  private readonly logger = new Logger(DatabaseNotifications.name);
  private readonly listeners = new Map<string, Set<NotificationListener>>();
  /** Channels that are to be notified. */
  private readonly pending = new Set<string>();
  /** Channels that the current connection listens on. */
  private readonly listened = new Set<string>();
  private client: Client | null = null;
  private working: Promise<void> | null = null;
  private timer: NodeJS.Timeout | undefined;
  private quietUntil = 0;
  private reconnectMs = FIRST_RECONNECT_MS;
  private closed = false;

  constructor(private readonly em: EntityManager) {}

  /** Announces on a channel that something was committed; returns at once. */
  notify(channel: string): void {
    this.pending.add(channel);
    this.schedule(Math.max(0, this.quietUntil - performance.now()));
  }

  /**
   * Calls the listener whenever any process announces something on the channel.
   * @returns a function that ends it.
   */
  listen(channel: string, listener: NotificationListener): () => void {
    const listeners = this.listeners.get(channel) ?? new Set();
    this.listeners.set(channel, listeners.add(listener));
    this.schedule(0);
    return () => void listeners.delete(listener);
  }

  async onApplicationShutdown(): Promise<void> {
    this.closed = true;
    clearTimeout(this.timer);
    await this.working;
    await this.client?.end().catch(() => undefined);
  }

  /** One piece of work at a time; what is asked for meanwhile is done by the next. */
  private schedule(delayMs: number): void {
    if (this.closed || this.working || this.timer) return;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.working = this.work().then((nextMs) => {
        this.working = null;
        if (this.pending.size > 0 || this.unheard().length > 0) this.schedule(nextMs);
      });
    }, delayMs);
    this.timer.unref();
  }

  /** @returns how long to wait before the next piece of work, in milliseconds. */
  private async work(): Promise<number> {
    try {
      this.client ??= await this.connect();
      await this.listenOn(this.client, this.unheard());
      await this.send(this.client);
      this.reconnectMs = FIRST_RECONNECT_MS;
      this.quietUntil = performance.now() + COALESCE_MS;
      return COALESCE_MS;
    } catch (error) {
      this.drop();
      this.logger.warn({ err: error, retryInMs: this.reconnectMs }, 'The connection for notifications failed');
      const waitMs = this.reconnectMs * (0.5 + Math.random() / 2);
      this.reconnectMs = Math.min(this.reconnectMs * 2, LAST_RECONNECT_MS);
      return waitMs;
    }
  }

  private unheard(): string[] {
    return [...this.listeners.keys()].filter((channel) => !this.listened.has(channel));
  }

  private async connect(): Promise<Client> {
    const pool = await this.em.getDriver().getConnection().getNativeClient();
    // The pool hides its password from copies.
    const { password } = pool.options;
    const client = new WatchedClient({
      ...pool.options,
      password,
      application_name: 'berth notifications',
      options: NOT_WAITED_FOR,
    });
    client.on('error', () => this.lose(client));
    client.on('end', () => this.lose(client));
    client.on('notification', ({ channel, processId }) => this.hear(channel, processId === processIdOf(client)));
    await client.connect();
    return client;
  }

  private async listenOn(client: Client, channels: string[]): Promise<void> {
    for (const channel of channels) {
      await client.query(`listen ${client.escapeIdentifier(channel)}`);
      this.listened.add(channel);
      this.hear(channel, false);
    }
  }

  private async send(client: Client): Promise<void> {
    const channels = [...this.pending];
    if (channels.length === 0) return;
    this.pending.clear();
    try {
      await client.query({ ...NOTIFY, values: [channels] });
    } catch (error) {
      for (const channel of channels) this.pending.add(channel);
      throw error;
    }
  }

  private hear(channel: string, byThisProcess: boolean): void {
    for (const listener of this.listeners.get(channel) ?? []) listener(byThisProcess);
  }

  /** The server hung up. */
  private lose(client: Client): void {
    if (this.client !== client) return;
    this.drop();
    this.schedule(this.reconnectMs);
  }

  private drop(): void {
    const client = this.client;
    this.client = null;
    this.listened.clear();
    client?.end().catch(() => undefined);
  }
}

/** The backend's process id, which `pg` keeps but its types leave out. */
const processIdOf = (client: Client): number | undefined => (client as Client & { processID?: number }).processID;
