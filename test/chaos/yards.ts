import type { Caller } from './caller.js';
import type { SignsOfLife } from './signs-of-life.js';

/** A company with agents that do various things, and one environment in which all of it happens. */
export interface Yard {
  readonly name: string;
  readonly companyId: string;
  readonly environmentId: string;
  /** How many leases its environment has room for; null for any number. */
  readonly capacity: number | null;
  readonly agents: readonly YardAgent[];
  readonly share: number;
  /** Where wakes are bound to issues. */
  readonly issueIds: readonly string[];
}

export interface YardAgent {
  readonly id: string;
  readonly cap: number;
}

interface Kind {
  readonly name: string;
  /** Pauses of 50 ms. */
  readonly pauses: number;
  readonly fails: boolean;
  readonly cap: number;
}

/** Long enough that whoever has a free slot takes one, before another is done. */
const ROLL_CALL = 'roll call';

/** Most end before a lease has to be renewed; some outlast one. */
const KINDS: readonly Kind[] = [
  { name: 'quick', pauses: 0, fails: false, cap: 5 },
  { name: 'short', pauses: 4, fails: false, cap: 5 },
  { name: 'alone', pauses: 3, fails: false, cap: 1 },
  { name: 'failing', pauses: 1, fails: true, cap: 5 },
  { name: 'long', pauses: 90, fails: false, cap: 2 },
  { name: ROLL_CALL, pauses: 20, fails: false, cap: 50 },
];

/** How often a wake is for an agent of each kind: the long ones hold what others wait for. */
const SHARES = ['quick', 'quick', 'quick', 'quick', 'short', 'short', 'short', 'alone', 'alone', 'failing', 'long'];
export const shareOf = (yard: Yard, index: number): YardAgent => agentCalled(yard, SHARES[index % SHARES.length]);
export const rollCallAgentOf = (yard: Yard): YardAgent => agentCalled(yard, ROLL_CALL);

const agentCalled = ({ agents }: Yard, called: string): YardAgent =>
  agents[KINDS.findIndex(({ name }) => name === called)];

/** What a company is to be like. */
export interface YardPlan {
  readonly name: string;
  readonly capacity?: number;
  readonly issues?: number;
  /** How many wakes it gets, beside the others. */
  readonly share?: number;
}

export async function buildYard(caller: Caller, signs: SignsOfLife, plan: YardPlan): Promise<Yard> {
  const { name, capacity = null, issues = 0, share = 1 } = plan;
  const companyId = await caller.created('/companies', { name });
  const local = { name: 'Local', driver: 'local', ...(capacity === null ? {} : { capacity }) };
  const environmentId = await caller.created(`/companies/${companyId}/environments`, local);
  const agents: YardAgent[] = [];
  for (const kind of KINDS) {
    const id = await caller.created(`/companies/${companyId}/agents`, {
      name: kind.name,
      adapterConfig: { command: 'sh', args: ['-c', signs.program(kind.pauses, kind.fails)], graceSec: 1 },
      runtimeConfig: { heartbeat: { maxConcurrentRuns: kind.cap } },
    });
    agents.push({ id, cap: kind.cap });
  }
  const issueIds: string[] = [];
  for (let issue = 1; issue <= issues; issue++) {
    issueIds.push(await caller.created(`/companies/${companyId}/issues`, { title: `Buoy ${issue}` }));
  }
  return { name, companyId, environmentId, capacity, share, agents, issueIds };
}
