import type { Actor } from '../events/actor.js';

/** A person, as far as a local trusted server knows one. */
export class WhoAmIUser {
  id: string;
  name: string;
  email: string | null;
}

/** Who the caller is, as this server sees it. */
export class WhoAmIResponse {
  /** The person, or null for an agent. */
  user: WhoAmIUser | null;
  /** The person's id, or null for an agent. */
  userId: string | null;
  /** Whether the caller may do what only an operator may do. */
  isInstanceAdmin: boolean;
  /** The companies that the caller is confined to; empty for an operator, who sees all. */
  companyIds: string[];
  /** How the caller was recognised. */
  source: 'local_trusted' | 'agent_key' | 'run_token';
  /** The agent's id, or null for a person. */
  agentId: string | null;
  /** The agent's company, or null for a person. */
  companyId: string | null;
  /** The run on whose behalf the agent acts, if it showed that run's token. */
  runId: string | null;

  static from(actor: Actor): WhoAmIResponse {
    if (actor.type === 'agent') {
      const { id, companyId, runId } = actor;
      const source = runId === null ? 'agent_key' : 'run_token';
      const nobody = { user: null, userId: null, isInstanceAdmin: false };
      return { ...nobody, companyIds: [companyId], source, agentId: id, companyId, runId };
    }
    const user = { id: actor.id, name: 'Local operator', email: null };
    const noAgent = { agentId: null, companyId: null, runId: null };
    return { user, userId: actor.id, isInstanceAdmin: true, companyIds: [], source: 'local_trusted', ...noAgent };
  }
}
