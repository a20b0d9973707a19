import { defineConfig, type Options } from '@mikro-orm/postgresql';
import { Activity } from './activity/activity.entity.js';
import { AgentApiKey } from './agents/agent-api-key.entity.js';
import { Agent } from './agents/agent.entity.js';
import { OperatorKey } from './auth/operator-keys/operator-key.entity.js';
import { Company } from './companies/company.entity.js';
import { Environment } from './environments/environment.entity.js';
import { ExecutionWorkspace } from './environments/execution-workspace.entity.js';
import { HeartbeatRun } from './heartbeat/runs/heartbeat-run.entity.js';
import { WakeupRequest } from './heartbeat/runs/wakeup-request.entity.js';
import { IssueComment } from './issues/issue-comment.entity.js';
import { Issue } from './issues/issue.entity.js';
import { EnvironmentLease } from './leases/environment-lease.entity.js';
import { Secret } from './secrets/secret.entity.js';
import { EnvironmentPlace } from './leases/places/environment-place.entity.js';

/** Every entity, and how the unit of work is used here; where the database is comes from the configuration. */
export const ormOptions = (connection: Options): Options =>
  defineConfig({
    ...connection,
    entities: [
      Company,
      OperatorKey,
      Secret,
      Environment,
      ExecutionWorkspace,
      Agent,
      AgentApiKey,
      Issue,
      WakeupRequest,
      HeartbeatRun,
      EnvironmentLease,
      EnvironmentPlace,
      IssueComment,
      Activity,
    ],
    // The columns that SQL fills in are not required from `em.create`.
    validateRequired: false,
    forceUndefined: false,
  });
