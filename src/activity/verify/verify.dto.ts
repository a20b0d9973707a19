import type { CheckResult } from './check.js';

export class DivergenceResponse {
  /** Of the row concerned. */
  id: string;
  /** @example Run 0199… is running, and its lease 0199… is expired */
  sentence: string;
}

export class CheckResponse {
  name: string;
  /** What holds in a sound record. */
  claim: string;
  /** How many rows were looked at. */
  checked: number;
  /** How many of them diverge. */
  found: number;
  /** The first 20 of these. */
  divergences: DivergenceResponse[];
}

export class VerifyResponse {
  /** Whether no check found anything. */
  ok: boolean;
  checks: CheckResponse[];

  static from(results: CheckResult[]): VerifyResponse {
    return {
      ok: results.every(({ found }) => found === 0),
      checks: results.map((result) => ({ ...result, divergences: [...result.divergences] })),
    };
  }
}
