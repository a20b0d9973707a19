import type { DataNames } from '../../bench/data-at-size.ts';

interface Parameter {
  readonly name: string;
  readonly in: 'path' | 'query' | 'header';
  readonly schema?: { readonly enum?: readonly string[] };
}

/** As much of the API's description as it takes to ask for everything that it can be asked for. */
export interface ApiDocument {
  readonly paths: Readonly<Record<string, { readonly get?: { readonly parameters?: readonly Parameter[] } }>>;
}

/** Streams do not end, verifying reads everything on purpose, and these two are of whoever asks. */
const LEFT_OUT = /stream$|verify$|\/me$|^\/metrics$/;

/** The paths of all reading requests: without filters, and with each value of each filter. */
export function requestsOf({ paths }: ApiDocument, names: DataNames): string[] {
  return Object.entries(paths).flatMap(([path, { get }]) => {
    if (!get || LEFT_OUT.test(path)) return [];
    const value = (name: string) => {
      const sample = samples(names, path)[name];
      if (sample === undefined) throw new Error(`Say what to ask ${path} for as ${name}`);
      return encodeURIComponent(sample);
    };
    const base = path.replace(/^\/api/, '').replaceAll(/\{(\w+)\}/g, (_, name: string) => value(name));
    const filters = (get.parameters ?? []).filter((parameter) => parameter.in === 'query');
    return [
      base,
      ...filters.flatMap(({ name, schema }) =>
        (schema?.enum ?? [null]).map((one) => `${base}?${name}=${one ?? value(name)}`),
      ),
    ];
  });
}

function samples(names: DataNames, path: string): Record<string, string | undefined> {
  const { agentId, environmentId, issueId, middle, placeId, runId, secretId, workspaceId } = names;
  const kinds = {
    '/agents/': agentId,
    '/environments/': environmentId,
    '/secrets/': secretId,
    '-workspaces/': workspaceId,
    '-places/': placeId,
  };
  const cursor = path.includes('activity') ? `${middle}~1005000` : runId;
  return {
    ...names,
    id: Object.entries(kinds).find(([kind]) => path.includes(kind))?.[1],
    ref: agentId,
    idOrIdentifier: issueId,
    assigneeAgentId: agentId,
    afterCommentId: runId,
    entityId: runId,
    cursor: Buffer.from(cursor).toString('base64url'),
    asOf: middle,
    since: new Date().toISOString(),
    until: middle,
    // What there is little of, or nothing.
    status: 'blocked',
    entityType: 'execution_workspace',
    action: 'environment.drained',
    driver: 'local',
    host: 'host-1',
    kind: 'run',
    state: 'lost',
    limit: '100',
    minCount: '50',
    afterSeq: '0',
    offset: '0',
    limitBytes: '1000',
    full: 'true',
    parked: 'true',
  };
}
