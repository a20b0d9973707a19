import { Injectable } from '@nestjs/common';
import { HeartbeatInvoked, HeartbeatQueued, HeartbeatRetryScheduled } from '../runs/heartbeat.events.js';
import { AfterCommit } from '../../events/listeners.js';
import { Gate, type Candidate, type Look } from './gate.js';

/** How long counts what was seen and has not been started, in milliseconds. */
const FRESH_MS = 50;
/** Most runs that are looked for, unless there are slots for more: the next slots that come free may have the others. */
const AHEAD = 8;

interface Sighting extends Pick<Look, 'candidates' | 'more'> {
  /** Whether it was seen for slots that came before: others may have been there since. */
  readonly seenBefore: boolean;
}

/**
 * Finds runs for free slots. A look is the dearest part of a start where many agents wait, and finds what several slots can
 * have: what it found beyond need is kept for those that come free shortly after, as far as nobody would come before it, and
 * until something new waits here. What comes free meanwhile is seen by the next look.
 */
@Injectable()
export class Lookout {
  private left: readonly Candidate[] = [];
  private freshUntil = 0;

  constructor(private readonly gate: Gate) {}

  /** Runs that may start, in fair order: some more than slots, because others may get them first. */
  async candidates(slots: number): Promise<Sighting> {
    if (this.left.length >= slots && performance.now() < this.freshUntil) {
      return { candidates: this.left.slice(0, slots), more: true, seenBefore: true };
    }
    this.forget();
    this.freshUntil = performance.now() + FRESH_MS;
    const { candidates, certain, more } = await this.gate.candidates(Math.max(AHEAD, slots * 2));
    this.left = candidates.slice(0, certain);
    return { candidates: candidates.slice(0, slots * 2), more, seenBefore: false };
  }

  /** What of it has been started. Where that was not enough, what is left is no better. */
  started(runs: readonly { id: string }[], slots: number): void {
    const ids = new Set(runs.map(({ id }) => id));
    this.left = runs.length < slots ? [] : this.left.filter(({ id }) => !ids.has(id));
  }

  @AfterCommit(HeartbeatInvoked)
  @AfterCommit(HeartbeatQueued)
  @AfterCommit(HeartbeatRetryScheduled)
  forget(): void {
    this.left = [];
    this.freshUntil = 0;
  }
}
