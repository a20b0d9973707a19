import { setTimeout as delay } from 'node:timers/promises';
import { Injectable, Logger, type OnModuleDestroy } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { UnauthenticatedError } from '../auth/auth-errors.js';
import { Callers } from '../auth/callers.js';
import { CompaniesService } from '../companies/companies.service.js';
import { BerthConfig } from '../config/config.js';
import { DomainError } from '../errors/domain-error.js';
import { StreamSeats } from '../http/limits/stream-seats.js';
import { Metrics } from '../metrics/metrics.js';
import { ActivityFeed, type FeedSubscription } from './activity-feed.js';
import type { ActivityStreamQueryDto } from './activity.dto.js';
import { SseConnection, sseEvent } from './sse-connection.js';
import { CursorOfAnotherHistoryError, formatCursor, parseCursor, type StreamCursor } from './stream-cursor.js';
import { StreamReader } from './stream-reader.js';

/** Looks without being told this often, in case a process died between its commit and its announcement. */
const POLL_MS = 2_000;
/** A shortest time between two looks of one stream: commits that follow each other closely are read together. */
const BREATH_MS = 15;
/** Silence after which something is sent, so that proxies and clients see that the stream lives. */
const KEEPALIVE_MS = 15_000;
/** A stream ends after this time, and its client resumes: at whichever process is there by then. */
const LIFETIME_MS = 15 * 60_000;

/** A page to be sent, and how old its entries were when it was read, `readAt` on this process's clock. */
interface Delivery {
  readonly events: string[];
  readonly cursor: StreamCursor;
  readonly agesSec: number[];
  readonly readAt: number;
}

/** The server goes down; another, or the next, takes the stream. */
export class ShuttingDownError extends DomainError {
  readonly kind = 'unavailable';
  readonly code = 'shutting_down';

  constructor() {
    super('The server is shutting down');
  }
}

/** Delivers the record of a company as it grows, each entry once, to every client that listens. */
@Injectable()
export class ActivityStreams implements OnModuleDestroy {
  private readonly logger = new Logger(ActivityStreams.name);
  private readonly connections = new Set<SseConnection>();
  private readonly seats: StreamSeats;
  private shuttingDown = false;

  constructor(
    private readonly companies: CompaniesService,
    private readonly reader: StreamReader,
    private readonly feed: ActivityFeed,
    private readonly callers: Callers,
    private readonly metrics: Metrics,
    private readonly config: BerthConfig,
  ) {
    this.seats = new StreamSeats(config);
  }

  /** Streams keep the server from closing, so they end first. */
  onModuleDestroy(): void {
    this.shuttingDown = true;
    for (const connection of this.connections) connection.end();
  }

  /**
   * Serves one client until it leaves.
   * @param lastEventId the last event that it has seen, if it resumes.
   * @throws NotFoundError, InvalidInputError, CursorOfAnotherHistoryError, EntriesRemovedError, TooManyStreamsError, before
   * anything is answered
   */
  async serve(
    companyId: string,
    lastEventId: string | undefined,
    from: ActivityStreamQueryDto['from'],
    reply: FastifyReply,
  ): Promise<void> {
    if (this.shuttingDown) throw new ShuttingDownError();
    await this.companies.assertExists(companyId);
    const leave = this.seats.take(reply.request);
    try {
      await this.serveSeated(companyId, lastEventId, from, reply);
    } finally {
      leave();
    }
  }

  private async serveSeated(
    companyId: string,
    lastEventId: string | undefined,
    from: ActivityStreamQueryDto['from'],
    reply: FastifyReply,
  ): Promise<void> {
    // Subscribed before the start is decided, so that nothing falls in between.
    const subscription = this.feed.subscribe(companyId);
    try {
      const cursor = await this.start(companyId, lastEventId, from);
      await this.run(subscription, cursor, reply);
    } finally {
      subscription.end();
    }
  }

  private async start(
    companyId: string,
    lastEventId: string | undefined,
    from: 'now' | 'start' = 'now',
  ): Promise<StreamCursor> {
    if (!lastEventId) return this.reader.cursorAt(from, companyId);
    const cursor = parseCursor(lastEventId);
    await this.reader.verify(cursor);
    await this.reader.verifyComplete(companyId, cursor);
    return cursor;
  }

  private async run(subscription: FeedSubscription, start: StreamCursor, reply: FastifyReply): Promise<void> {
    const connection = SseConnection.open(reply, this.config.clientTimeoutSec * 1000);
    this.connections.add(connection);
    const endOfLife = setTimeout(() => connection.end(), LIFETIME_MS);
    try {
      // Lets a client resume even if nothing happens before it loses the connection.
      await connection.send(sseEvent(formatCursor(start)));
      await this.deliver(subscription, start, connection, this.callers.recheck(reply.request));
    } catch (error) {
      this.logger.error({ err: error, companyId: subscription.companyId }, 'A stream of activity broke off');
    } finally {
      clearTimeout(endOfLife);
      this.connections.delete(connection);
      connection.end();
    }
  }

  private async deliver(
    subscription: FeedSubscription,
    start: StreamCursor,
    connection: SseConnection,
    recheck: () => Promise<void>,
  ): Promise<void> {
    let cursor = start;
    let lastSent = Date.now();
    // What a client missed before it came is as old as it is.
    let caughtUp = false;
    while (!connection.closed.aborted) {
      const next = await this.readOn(subscription.companyId, cursor, connection, recheck);
      if (next === 'end') return;
      cursor = next.cursor;
      if (next.events.length > 0) {
        await connection.send(next.events.join(''));
        lastSent = Date.now();
        if (caughtUp) this.observeLag(next);
      }
      if (cursor.page) continue;
      caughtUp = true;
      await pause(BREATH_MS, connection.closed);
      await subscription.grew(POLL_MS, connection.closed);
      if (Date.now() - lastSent >= KEEPALIVE_MS) {
        await connection.send(`: keepalive\n${sseEvent(formatCursor(cursor))}`);
        lastSent = Date.now();
      }
    }
  }

  /**
   * Reads the next page. While the database is away the stream stays open; if it comes back with another history, or the
   * client's credential is no longer good, the stream ends, and its client learns why when it tries to resume.
   */
  private async readOn(
    companyId: string,
    cursor: StreamCursor,
    connection: SseConnection,
    recheck: () => Promise<void>,
  ): Promise<Delivery | 'end'> {
    let failed = false;
    while (!connection.closed.aborted) {
      try {
        if (failed) await this.reader.verify(cursor);
        await recheck();
        const page = await this.reader.read(companyId, cursor);
        const readAt = performance.now();
        const events = page.entries.map(({ entry, cursor: seen }, at) =>
          sseEvent(formatCursor(at === page.entries.length - 1 ? page.cursor : seen), entry),
        );
        return { events, cursor: page.cursor, agesSec: page.entries.map(({ ageSec }) => ageSec), readAt };
      } catch (error) {
        if (error instanceof CursorOfAnotherHistoryError || error instanceof UnauthenticatedError) return 'end';
        if (!failed) this.logger.warn({ err: error, companyId }, 'A stream of activity waits for the database');
        failed = true;
        await pause(POLL_MS, connection.closed);
        await connection.send(': waiting for the database\n\n');
      }
    }
    return 'end';
  }

  private observeLag({ agesSec, readAt }: Delivery): void {
    const sinceSec = (performance.now() - readAt) / 1000;
    for (const ageSec of agesSec) this.metrics.streamLag.observe(ageSec + sinceSec);
  }
}

const pause = (ms: number, stop: AbortSignal) => delay(ms, undefined, { signal: stop }).catch(() => undefined);
