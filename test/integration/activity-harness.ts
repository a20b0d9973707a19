import { EntityManager } from '@mikro-orm/postgresql';
import { ActivityModule } from '../../src/activity/activity.module.js';
import { AgentsModule } from '../../src/agents/agents.module.js';
import { newId } from '../../src/database/id.js';
import { inTransaction } from '../../src/database/transaction.js';
import { DomainEvent, RegisterEvent } from '../../src/events/domain-event.js';
import { DomainEvents } from '../../src/events/domain-events.js';
import { startProbeApp, type ProbeApp } from './http-probe.js';

/** A fact that only tests know. */
@RegisterEvent
export class SomethingHappened extends DomainEvent {
  static override readonly wireName = 'test.happened';
  static override readonly action = 'test.happened';
  readonly subject: { type: string; id: string };

  constructor(
    readonly companyId: string,
    id: string,
    private readonly said: Record<string, unknown> = {},
  ) {
    super();
    this.subject = { type: 'thing', id };
  }

  override details(): Record<string, unknown> {
    return this.said;
  }
}

/** One entry as the API answers it. */
export interface Entry {
  id: string;
  action: string;
  actorType: string;
  actorId: string;
  entityType: string;
  entityId: string;
  agentId: string | null;
  runId: string | null;
  details: Record<string, unknown>;
  createdAt: string;
}

export interface ActivityApp extends ProbeApp {
  /** Calls the API; `token` stands for an agent, otherwise the operator calls. */
  call<Body>(method: string, path: string, body?: unknown, token?: string): Promise<Answer<Body>>;
  /** A new company's id. */
  company(): Promise<string>;
  /** A new agent, and a key of it. */
  agent(companyId: string): Promise<{ id: string; token: string }>;
  /** Records facts in one transaction, after doing `first` in it. */
  happen(events: DomainEvent[], first?: (em: EntityManager) => Promise<void>): Promise<void>;
}

export interface Answer<Body> {
  status: number;
  headers: Headers;
  body: Body;
}

export async function startActivityApp(): Promise<ActivityApp> {
  const probe = await startProbeApp([AgentsModule, ActivityModule]);
  const em = probe.app.get(EntityManager, { strict: false });
  const events = probe.app.get(DomainEvents, { strict: false });
  const call = async <Body>(method: string, path: string, body?: unknown, token?: string): Promise<Answer<Body>> => {
    const answer = await fetch(`${probe.url}/api/${path}`, {
      method,
      headers: {
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(token ? { authorization: `Bearer ${token}` } : {}),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    return { status: answer.status, headers: answer.headers, body: (text ? JSON.parse(text) : null) as Body };
  };
  return {
    ...probe,
    call,
    company: async () => (await call<{ id: string }>('POST', 'companies', { name: 'Acme' })).body.id,
    async agent(companyId) {
      const id = newId();
      await probe.database.query(
        `insert into agents (id, company_id, name, adapter_type) values ($1, $2, 'Ann', 'process')`,
        [id, companyId],
      );
      const key = await call<{ token: string }>('POST', `agents/${id}/keys`, { name: 'key' });
      return { id, token: key.body.token };
    },
    happen: (list, first) =>
      inTransaction(em, async () => {
        await first?.(em);
        await events.record(list);
      }),
  };
}
