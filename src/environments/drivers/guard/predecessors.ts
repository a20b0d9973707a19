import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Injectable, Logger } from '@nestjs/common';
import { BerthConfig } from '../../../config/config.js';
import { ProcessGroup } from '../process-group.js';
import { bootId, groupsOfLease, hasEnded, statOf } from './process-table.js';
import {
  journalsIn,
  outputsOf,
  parseJournal,
  removeJournal,
  removeOutputs,
  type HeldGroup,
  type RunnerJournal,
} from './runner-journal.js';

/** Ends what runners of this home left behind that died together with their guards. */
@Injectable()
export class Predecessors {
  private readonly logger = new Logger(Predecessors.name);

  constructor(private readonly config: BerthConfig) {}

  /** To be called before work is taken. Never throws: what cannot be read is said, and does not hold the runner back. */
  async endWhatTheyLeft(): Promise<void> {
    const folder = journalsIn(this.config.home);
    const names = await readdir(folder).catch(() => []);
    const journals = names.filter((name) => name.endsWith('.json'));
    await Promise.all(journals.map((name) => this.settle(join(folder, name))));
  }

  private async settle(file: string): Promise<void> {
    try {
      const text = await readFile(file, 'utf8').catch(() => null);
      if (text === null) return; // its runner has just ended in order
      const journal = parseJournal(text);
      if (isRunning(journal)) return;
      // What the ids in it mean ended with the machine's last start.
      if (journal.bootId === bootId()) await Promise.all(journal.groups.map((group) => this.end(group)));
    } catch (error) {
      this.logger.warn({ err: error, file }, 'The journal of a runner cannot be used, and is removed');
    }
    removeJournal(file);
    removeOutputs(outputsOf(file));
  }

  private async end(held: HeldGroup): Promise<void> {
    for (const groupId of groupsOf(held)) {
      this.logger.warn({ leaseId: held.leaseId, groupId }, 'A process group of a runner that died is ended');
      await new ProcessGroup(groupId).end(0);
    }
  }
}

function isRunning({ bootId: since, runner }: RunnerJournal): boolean {
  if (since !== bootId()) return false;
  const stat = statOf(runner.pid);
  return stat !== null && !hasEnded(stat) && stat.startTime === runner.startTime;
}

/** Only what is surely meant: the leader is the same process, or has left members that carry the lease. */
export function groupsOf({ leaseId, groupId, startTime }: HeldGroup): number[] {
  const leader = groupId === null ? null : statOf(groupId);
  if (groupId !== null && leader !== null) return leader.startTime === startTime ? [groupId] : [];
  const marked = groupsOfLease(leaseId);
  return groupId === null ? marked : marked.filter((id) => id === groupId);
}
