import { setTimeout as delay } from 'node:timers/promises';
import { Injectable, Logger } from '@nestjs/common';
import { isConnectionLost } from '../database/database-errors.js';
import type { DueRows } from './due-rows.js';
import { Removals, type Removal } from './removals.js';
import { RemoveActivity } from './remove-activity.js';
import { RemoveReservations } from './remove-reservations.js';
import { RemoveRunLogs } from './remove-run-logs.js';
import { RemoveRuns } from './remove-runs.js';
import { RemoveWakes } from './remove-wakes.js';

/** After a page the sweeper rests this many times as long as that took, so that others have the database… */
const REST = 3;
/** …but not for longer than this, in milliseconds. */
const LONGEST_REST_MS = 10_000;

/** What came of one removal. */
export interface Outcome {
  removed: number;
  /** Rows that could not go. */
  readonly stuck: Set<string>;
}

/** Carries a removal out to its end, page by page. */
@Injectable()
export class CarryOut {
  private readonly logger = new Logger(CarryOut.name);

  constructor(
    private readonly removals: Removals,
    private readonly runs: RemoveRuns,
    private readonly reservations: RemoveReservations,
    private readonly wakes: RemoveWakes,
    private readonly runLogs: RemoveRunLogs,
    private readonly activity: RemoveActivity,
  ) {}

  /**
   * Removes everything that is due. A row that cannot go stops no other; it is tried again in the next removal.
   * @param stop ends it between two pages, by its reason.
   * @throws when the database cannot be reached, or it was stopped: what was removed by then stays so.
   */
  async carryOut(removal: Removal, stop: AbortSignal): Promise<Outcome> {
    const outcome: Outcome = { removed: 0, stuck: new Set() };
    let resumeAfter: string | null = null;
    switch (removal.kind) {
      case 'activity':
        while (await this.paced(() => this.activity.page(removal), outcome, stop));
        break;
      case 'runLogs':
        resumeAfter = await this.removeLogs(removal, outcome, stop);
        break;
      case 'runs':
        for (const rows of [this.runs, this.reservations, this.wakes]) {
          // One row goes after another that stood in its way: a run after its retry, a lease after those before it.
          while (await this.walk(rows, removal, outcome, stop));
        }
    }
    await this.removals.swept(removal, resumeAfter);
    return outcome;
  }

  /** @returns how many rows went. */
  private async walk(rows: DueRows, removal: Removal, outcome: Outcome, stop: AbortSignal): Promise<number> {
    const before = outcome.removed;
    for (let after: string | null = null; ;) {
      const { ids, next } = await rows.due(removal, after);
      await this.remove(rows, removal, ids, outcome, stop);
      if (next === null) return outcome.removed - before;
      after = next;
    }
  }

  /** @returns up to where there is nothing left to look at. */
  private async removeLogs(removal: Removal, outcome: Outcome, stop: AbortSignal): Promise<string | null> {
    let after = await this.runLogs.resumeAfter(removal);
    let doneTo = after;
    for (let someStay = false; ;) {
      const page = await this.runLogs.due(removal, after);
      await this.remove(this.runLogs, removal, page.ids, outcome, stop);
      if (!someStay && outcome.stuck.size === 0) doneTo = page.doneTo ?? doneTo;
      someStay ||= page.someStay;
      if (page.next === null) return doneTo;
      after = page.next;
    }
  }

  /** Together; where that fails, each alone. */
  private async remove(
    rows: DueRows,
    removal: Removal,
    due: string[],
    outcome: Outcome,
    stop: AbortSignal,
  ): Promise<void> {
    const ids = due.filter((id) => !outcome.stuck.has(id));
    if (ids.length === 0) return stop.throwIfAborted();
    try {
      await this.paced(() => rows.remove(removal, ids), outcome, stop);
    } catch (error) {
      if (stop.aborted || isConnectionLost(error)) throw error;
      if (ids.length > 1) {
        for (const id of ids) await this.remove(rows, removal, [id], outcome, stop);
        return;
      }
      this.logger.error({ err: error, id: ids[0], ...removal }, 'A row that was kept for long enough could not go');
      for (const id of ids) outcome.stuck.add(id);
    }
  }

  private async paced(page: () => Promise<number>, outcome: Outcome, stop: AbortSignal): Promise<number> {
    stop.throwIfAborted();
    const startedAt = performance.now();
    const removed = await page();
    outcome.removed += removed;
    const restMs = Math.min(REST * (performance.now() - startedAt), LONGEST_REST_MS);
    if (removed > 0) await delay(restMs, undefined, { signal: stop }).catch(() => undefined);
    return removed;
  }
}
