import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import type { HeartbeatRun, PlacementRecord, RunStatus, WaitingReason } from '../runs/heartbeat-run.entity.js';
import { placementOf } from '../runs/placement-record.js';
import { toldContextOf } from '../runs/told-context.js';
import { Blockers, type ExplainedReason } from './blockers.js';
import { WaitingReasons } from './waiting-reasons.js';

/** What a waiting run waits for, and where a placed one went. */
export interface Explanation {
  runId: string;
  status: RunStatus;
  environment: Record<string, unknown> | null;
  leaseId: string | null;
  decidedBy: string | null;
  waitingReason: WaitingReason | ExplainedReason | null;
  placement: PlacementRecord | null;
}

/** Explains where runs went, from what was kept when they started, and why others wait, from the state as it is now. */
@Injectable()
export class PlacementsService {
  constructor(
    private readonly em: EntityManager,
    private readonly reasons: WaitingReasons,
    private readonly blockers: Blockers,
  ) {}

  async explain(run: HeartbeatRun): Promise<Explanation> {
    const blocked = (await this.reasons.of([run.id])).get(run.id);
    const placed = toldContextOf(run).paperclipEnvironment ?? null;
    const chosen = blocked?.environment_id ? { id: blocked.environment_id, name: blocked.environment_name } : null;
    return {
      runId: run.id,
      status: run.status,
      environment: placed ?? chosen,
      leaseId: run.leaseId ?? null,
      // What was decided stays, whatever the references say by now.
      decidedBy: run.placement?.decidedBy ?? placed?.decidedBy ?? blocked?.decided_by ?? null,
      waitingReason: await this.waitingReason(run, blocked),
      placement: placementOf(run),
    };
  }

  /** The issue that the run works on, as clients of several issues a run expect it: a list. */
  async issuesOf(run: HeartbeatRun) {
    const rows = await this.em.execute<
      { id: string; identifier: string; title: string; status: string; priority: string }[]
    >(`select id, identifier, title, status, priority from issues where id = ?::uuid`, [run.issueId ?? null]);
    return rows.map((issue) => ({ ...issue, issueId: issue.id, runStatus: run.status }));
  }

  /** Of a run that has ended without ever starting, what it waited for to its end. */
  private async waitingReason(run: HeartbeatRun, blocked: Parameters<Blockers['explain']>[0][number] | undefined) {
    if (!blocked || blocked.code === 'claim_failed') return run.waitingReason ?? null;
    return (await this.blockers.explain([blocked])).get(run.id) ?? null;
  }
}
