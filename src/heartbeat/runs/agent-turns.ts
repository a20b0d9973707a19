import { Injectable } from '@nestjs/common';

/** Who has waited this long goes for the locks beside whoever has them, in milliseconds. */
const PATIENCE_MS = 50;

/**
 * Lets wakes and starts of this process take turns. Both need the locks of agents: wakes wait for them, and a start that
 * comes while wakes have them passes over all that these agents have waiting. Only a courtesy: the locks decide.
 */
@Injectable()
export class AgentTurns {
  /** When the one that came last leaves; null once nobody is there. */
  private last: Promise<void> | null = null;

  /** Waits until those who came before have left, but not for ever. @returns how to leave. */
  async enter(): Promise<() => void> {
    const before = this.last;
    const { promise: leaving, resolve } = Promise.withResolvers<void>();
    this.last = leaving;
    if (before) await noLongerThan(PATIENCE_MS, before);
    return () => {
      if (this.last === leaving) this.last = null;
      resolve();
    };
  }
}

function noLongerThan(ms: number, work: Promise<void>): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    void work.then(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
