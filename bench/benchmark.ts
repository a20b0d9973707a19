/** One benchmark of the suite. */
export interface Benchmark {
  /** As `--only` names it. */
  readonly name: string;
  /** What is measured, how, and what it is compared with: the words above its tables. */
  readonly about: string;
  readonly run: (setting: Setting) => Promise<Findings>;
}

/** How the suite was asked to run. */
export interface Setting {
  /** Fewer and shorter rounds, smaller sizes: to see that it works, not what it measures. */
  readonly quick: boolean;
  /** Tells whoever waits what is being done. */
  readonly say: (line: string) => void;
}

/** What a benchmark has found out. */
export interface Findings {
  readonly tables: readonly Table[];
  readonly checks: readonly Check[];
  /** What a reader has to know besides: the SQL of a floor, what could not be measured here. */
  readonly notes?: readonly string[];
}

export interface Table {
  readonly title: string;
  /** With units. */
  readonly columns: readonly string[];
  /** One cell for each column; null where there is nothing to say. */
  readonly rows: readonly (readonly (string | number | null)[])[];
}

/**
 * A figure with its bound. A gate is a count, or a ratio taken within one run, and holds on every machine: one that is
 * missed fails the suite. A goal is an absolute figure for an idle machine of 2 cores, and is only reported.
 */
export interface Check {
  readonly kind: 'gate' | 'goal';
  /** What is bounded, with its unit. */
  readonly what: string;
  readonly measured: number;
  readonly atLeast?: number;
  readonly atMost?: number;
}

export const isMet = ({ measured, atLeast = -Infinity, atMost = Infinity }: Check): boolean =>
  measured >= atLeast && measured <= atMost;
