import type { AcquiredLease } from '../../leases/acquire-leases.js';
import type { ClaimedRun } from '../runs/claimed-run.js';
import type { DecidedPlacement } from '../runs/placement-record.js';
import { toldContext } from '../runs/told-context.js';
import type { Verdict } from './placement.js';

/** A start that has been decided, with the ids and the secret that go with it. */
export interface Starting extends Extract<Verdict, { kind: 'start' }> {
  readonly leaseId: string;
  readonly token: string;
  readonly tokenHash: Buffer;
}

/** The place that the run is given, by its row's id. */
export const placeIdOf = ({ seat, plan }: Starting): string | null => seat.kept?.id ?? plan?.id ?? null;

/** Why it could start, and there: kept with the run. */
export function decisionOf(starting: Starting): DecidedPlacement {
  const { run, environment, seat } = starting;
  const placeId = placeIdOf(starting);
  return {
    decidedBy: run.decided_by,
    references: run.chosen_by,
    environmentId: environment.id,
    environmentName: environment.name,
    driver: environment.driver,
    slot: seat.slot,
    place: placeId === null ? null : { id: placeId, takenOver: seat.kept !== null },
    found: {
      agent: { running: run.agent_running, cap: run.agent_cap },
      company: run.company_cap === null ? null : { running: run.company_running, cap: run.company_cap },
      environment: environment.capacity === null ? null : { held: seat.held, capacity: environment.capacity },
      workspace:
        run.workspace_id === null ? null : { id: run.workspace_id, mode: run.workspace_mode!, cwd: run.workspace_cwd! },
    },
    waitedFor: run.waiting_reason,
  };
}

/** Everything that executing the run needs, as it is now. */
export function claimedRun(starting: Starting, lease: AcquiredLease, host: string, deadline: number): ClaimedRun {
  const { run, environment, seat, plan, token } = starting;
  const { id, name, driver, config, envVars } = environment;
  const place = seat.kept ?? plan;
  return {
    id: run.id,
    companyId: run.company_id,
    agentId: run.agent_id,
    issueId: run.issue_id,
    lease,
    waitedSec: (lease.acquiredAt.getTime() - Date.parse(run.due_at)) / 1000,
    token,
    contextSnapshot: toldContext({
      contextSnapshot: run.context_snapshot,
      invocationSource: run.invocation_source,
      triggerDetail: run.trigger_detail,
      leaseId: lease.id,
      placement: { ...decisionOf(starting), fencingToken: lease.fencingToken, host },
    }),
    adapterType: run.adapter_type,
    adapterConfig: run.adapter_config,
    environment: { id, name, driver, config, envVars },
    workspace: workspaceOf(run),
    place: place && { id: place.id, facts: place.facts, takenOver: seat.kept !== null },
    deadline,
  };
}

const workspaceOf = ({ workspace_id: id, workspace_cwd: cwd }: Starting['run']) => (id && cwd ? { id, cwd } : null);
