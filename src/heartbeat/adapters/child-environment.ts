import { variablesOf } from '../../environments/env-vars.js';
import { LEASE_VARIABLE } from '../../environments/drivers/guard/process-table.js';
import { agentVariables } from './agent-variables.js';

/** What a child process's variables are made of. */
export interface ChildEnvironmentInput {
  /** The server's own variables, of which only the allow-listed ones are passed on. */
  readonly server: Readonly<Record<string, string | undefined>>;
  /** Its variables and the agent's config, with values in the place of references. */
  readonly environment: { readonly id: string; readonly envVars: Record<string, unknown> };
  readonly agent: { readonly id: string; readonly companyId: string; readonly adapterConfig: Record<string, unknown> };
  readonly runId: string;
  readonly leaseId: string;
  /** Where the process reaches the API, and the token for this run only. */
  readonly apiUrl: string;
  readonly apiKey: string;
  readonly wake: {
    readonly reason: string | null;
    readonly issueId: string | null;
    readonly commentId: string | null;
    readonly payload: Record<string, unknown> | null;
  };
  readonly workspace: { readonly id: string; readonly cwd: string } | null;
}

const PASSED_ON = /^(PATH|HOME|USER|LANG|LC_.*|TZ|TMPDIR|TERM|SHELL)$/;
/** Linux starts no program with a single variable above 128 KiB; such a payload can be read through the API. */
const MAX_PAYLOAD_BYTES = 96 * 1024;

/**
 * The whole environment of an agent's process: an allow-listed base, the environment's variables, the agent's own,
 * and last what Berth says. The names of the last are Berth's alone, those that do not apply to this run included.
 */
export function childEnvironment(input: ChildEnvironmentInput): Record<string, string> {
  const said = paperclipVariables(input);
  const chosen = { ...variablesOf(input.environment.envVars), ...agentVariables(input.agent.adapterConfig) };
  return {
    ...withoutUndefined(Object.entries(input.server).filter(([name]) => PASSED_ON.test(name))),
    ...withoutUndefined(Object.entries(chosen).filter(([name]) => !Object.hasOwn(said, name))),
    ...withoutUndefined(Object.entries(said)),
  };
}

function paperclipVariables({ agent, environment, runId, leaseId, wake, workspace, ...api }: ChildEnvironmentInput) {
  return {
    PAPERCLIP_AGENT_ID: agent.id,
    PAPERCLIP_COMPANY_ID: agent.companyId,
    PAPERCLIP_RUN_ID: runId,
    PAPERCLIP_API_URL: api.apiUrl,
    PAPERCLIP_API_KEY: api.apiKey,
    PAPERCLIP_ENVIRONMENT_ID: environment.id,
    [LEASE_VARIABLE]: leaseId,
    PAPERCLIP_WAKE_REASON: wake.reason ?? '',
    PAPERCLIP_TASK_ID: wake.issueId ?? undefined,
    PAPERCLIP_WAKE_COMMENT_ID: wake.commentId ?? undefined,
    PAPERCLIP_WAKE_PAYLOAD_JSON: payloadJson(wake.payload),
    PAPERCLIP_WORKSPACE_ID: workspace?.id,
    PAPERCLIP_WORKSPACE_CWD: workspace?.cwd,
  } satisfies Record<string, string | undefined>;
}

function payloadJson(payload: Record<string, unknown> | null): string | undefined {
  if (payload === null || Object.keys(payload).length === 0) return undefined;
  const json = JSON.stringify(payload);
  return Buffer.byteLength(json) > MAX_PAYLOAD_BYTES ? undefined : json;
}

const withoutUndefined = (entries: [string, string | undefined][]): Record<string, string> =>
  Object.fromEntries(entries.filter((entry): entry is [string, string] => entry[1] !== undefined));
