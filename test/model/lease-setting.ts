// The harbour in which leases are played for: its environments, and the workspaces in them.

import { v7 } from 'uuid';
import type { LeasePolicy } from '../../src/environments/lease-policy.js';
import { RETAIN_SEC, type Berth } from './lease-model.js';

/** By the environment in which they are. */
const WORKSPACES: Record<string, ('shared' | 'exclusive')[]> = {
  ...{ open: ['shared', 'exclusive'], dock: ['exclusive'], cradle: ['exclusive'], slip: [], basin: ['shared'] },
};
const BERTHS: Omit<Berth, 'id' | 'status'>[] = [
  { name: 'open', capacity: null, places: 'none' },
  { name: 'dock', capacity: 2, places: 'none' },
  { name: 'cradle', capacity: 2, places: 'warm' },
  { name: 'slip', capacity: 1, places: 'retained' },
  { name: 'basin', capacity: 1, places: 'warm for its workspace' },
];
const AGENTS = 3;

/** Where somebody may want to be: an environment, and there maybe a workspace. */
export interface Spot {
  readonly environmentId: string;
  readonly workspace: { readonly id: string; readonly isExclusive: boolean } | null;
}
export const SPOTS = BERTHS.length + Object.values(WORKSPACES).flat().length;

/** Those at which a run gets a place, that may be kept for another one. */
export const SPOTS_WITH_PLACES = BERTHS.flatMap(({ name, places }) =>
  Array.from({ length: 1 + WORKSPACES[name].length }, () => places !== 'none'),
).flatMap((hasPlaces, at) => (hasPlaces ? [at] : []));

/** Everything that is there before anybody does something. */
export interface Setting {
  readonly companyId: string;
  readonly agents: readonly string[];
  readonly berths: Berth[];
  readonly spots: readonly Spot[];
}

/** @param root where places are made. @returns the setting, and the statement that lays it out with its parameters. */
export function newSetting(root: string): { setting: Setting; statement: [string, unknown[]] } {
  const companyId = v7();
  const agents = Array.from({ length: AGENTS }, () => v7());
  const berths = BERTHS.map((berth): Berth => ({ ...berth, id: v7(), status: 'active' }));
  const spots = berths.flatMap(({ id: environmentId, name }): Spot[] => [
    { environmentId, workspace: null },
    ...WORKSPACES[name].map((mode) => ({ environmentId, workspace: { id: v7(), isExclusive: mode === 'exclusive' } })),
  ]);
  const rows = [
    berths.map((berth) => ({ ...berth, ...settings(berth, root) })),
    spots.filter(({ workspace }) => workspace !== null),
    agents,
  ];
  const parameters = [companyId, ...rows.map((of) => JSON.stringify(of))];
  return { setting: { companyId, agents, berths, spots }, statement: [LAY_OUT, parameters] };
}

const POLICIES: Record<Berth['places'], LeasePolicy> = {
  none: 'ephemeral',
  warm: 'reuse_by_environment',
  'warm for its workspace': 'reuse_by_execution_workspace',
  retained: 'retain_on_failure',
};
const settings = ({ places }: Berth, cwd: string) => ({
  policy: POLICIES[places],
  config: places === 'none' ? {} : { directory: 'per_lease', cwd },
});

const LAY_OUT = `
  with company as (
    insert into companies (id, name, issue_prefix) values ($1, 'Harbour', 'BER') returning id),
  berths as (
    insert into environments (id, company_id, name, driver, config, capacity, lease_policy, warm_sec, retain_sec)
    select x.id, company.id, x.name, x.name, x.config, x.capacity, x.policy, 500, ${RETAIN_SEC}
    from company, jsonb_to_recordset($2) as x(id uuid, name text, config jsonb, capacity integer, policy text)),
  workspaces as (
    insert into execution_workspaces (id, company_id, environment_id, name, mode, cwd)
    select (x.workspace ->> 'id')::uuid, company.id, x."environmentId", x.workspace ->> 'id',
      case when (x.workspace ->> 'isExclusive')::boolean then 'exclusive' else 'shared' end, '/tmp'
    from company, jsonb_to_recordset($3) as x("environmentId" uuid, workspace jsonb))
  insert into agents (id, company_id, name, adapter_type, adapter_config, runtime_config)
  select x.id::uuid, company.id, x.id, 'process', '{"command": "true"}', '{"heartbeat": {"maxConcurrentRuns": 50}}'
  from company, jsonb_array_elements_text($4) as x(id)`;
