/** One thing that holds in a sound record. */
export interface Check {
  readonly name: string;
  /** What holds, as a sentence. */
  readonly claim: string;
  /** What is looked at: a `from` clause, with its `where` if not every row is. */
  readonly over: string;
  /** A query of what does not hold: `id` of the row concerned, and a `sentence` about it. */
  readonly divergences: string;
}

/** The same, when it was looked at. */
export interface CheckResult {
  readonly name: string;
  readonly claim: string;
  /** Rows looked at. */
  readonly checked: number;
  /** How many of them do not hold. */
  readonly found: number;
  /** The first of these. */
  readonly divergences: readonly Divergence[];
}

export interface Divergence {
  readonly id: string;
  readonly sentence: string;
}
