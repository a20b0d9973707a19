import type { Actor } from '../events/actor.js';

/** A person, as far as the server knows one: by the key that was shown. */
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
  /** Whether the caller may do everything: an operator of the whole instance whose key can write. */
  isInstanceAdmin: boolean;
  /** The companies that the caller is confined to; empty for an operator of the whole instance, who sees all. */
  companyIds: string[];
  /** How the caller was recognised. */
  source: 'local_trusted' | 'board_key' | 'agent_key' | 'run_token';
  /** The operator's key, or null where none was shown. */
  keyId: string | null;
  /** Whether the caller can only read. */
  readOnly: boolean;
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
      const noOperator = { user: null, userId: null, isInstanceAdmin: false, keyId: null, readOnly: false };
      return { ...noOperator, companyIds: [companyId], source, agentId: id, companyId, runId };
    }
    const key = actor.type === 'user' ? actor.key : null;
    const readOnly = key?.readOnly ?? false;
    return {
      user: { id: actor.id, name: key?.name ?? 'Local operator', email: null },
      userId: actor.id,
      isInstanceAdmin: !key?.companyIds && !readOnly,
      companyIds: [...(key?.companyIds ?? [])],
      source: key ? 'board_key' : 'local_trusted',
      keyId: key?.id ?? null,
      readOnly,
      ...{ agentId: null, companyId: null, runId: null },
    };
  }
}
