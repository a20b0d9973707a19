import { costOf, type LogRow } from './log-row.js';

/** The latest rows of a run's output, as many as are kept. The oldest fall out as new ones come, stored or not. */
export class TailWindow {
  private rows: LogRow[] = [];
  /** Index of the oldest row that is kept, and of the oldest that is not stored. */
  private first = 0;
  private next = 0;
  private cost = 0;

  constructor(private readonly maxCost: number) {}

  /** Takes in a row, or what a row that is in already has grown by. */
  grow(row: LogRow, cost: number): void {
    if (this.rows.at(-1) !== row) this.rows.push(row);
    this.cost += cost;
    while (this.cost > this.maxCost && this.first < this.rows.length - 1) this.drop();
    if (this.first > 1024 && this.first > this.rows.length / 2) this.compact();
  }

  /** Where the window begins; `fallback` while it is empty. */
  start(fallback: number): number {
    return this.rows[this.first]?.offset ?? fallback;
  }

  get firstUnstored(): LogRow | undefined {
    return this.rows[this.next];
  }

  unstored(): LogRow[] {
    return this.rows.slice(this.next);
  }

  /** Notes that these are in the database: their content is not needed any more. Some may have fallen out meanwhile. */
  stored(rows: readonly LogRow[]): void {
    const end = rows.at(-1)?.offset ?? -1;
    for (let row = this.rows[this.next]; row && row.offset <= end; row = this.rows[++this.next]) {
      row.parts = [];
    }
  }

  private drop(): void {
    const row = this.rows[this.first];
    this.cost -= costOf(row);
    this.first++;
    this.next = Math.max(this.next, this.first);
  }

  private compact(): void {
    this.rows = this.rows.slice(this.first);
    this.next -= this.first;
    this.first = 0;
  }
}
