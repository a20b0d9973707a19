import { Injectable, type OnModuleInit } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { CredentialResolvers, type CredentialResolver } from '../../auth/credential-resolvers.js';
import { isUseNoted, noteUse } from '../../auth/key-use.js';
import { RUN_TOKEN_PREFIX, RunTokens } from '../../auth/run-tokens.js';
import { sameHash } from '../../auth/token-hash.js';
import type { Caller } from '../../events/actor.js';
import { currentScope } from '../../events/request-scope.js';
import { Redactor } from '../../redaction/redactor.js';
import { RunRedactors } from './run-redactors.js';
import { openValues } from './sealed-values.js';

interface RunRow {
  token_hash: Buffer;
  agent_id: string;
  company_id: string;
  sealed_values: Buffer | null;
  use_is_noted: boolean;
}

/** Honours a run's own token for as long as the run is running, and keeps what it must not show out of its request. */
@Injectable()
export class RunTokenResolver implements CredentialResolver, OnModuleInit {
  readonly prefix = RUN_TOKEN_PREFIX;

  constructor(
    private readonly em: EntityManager,
    private readonly tokens: RunTokens,
    private readonly resolvers: CredentialResolvers,
    private readonly redactors: RunRedactors,
  ) {}

  onModuleInit(): void {
    this.resolvers.register(this);
  }

  async resolve(token: string): Promise<Caller | null> {
    const shown = await this.tokens.read(token);
    if (!shown) return null;
    const { runId, agentId, companyId } = shown;
    const [run] = await this.em.execute<RunRow[]>(
      `select token_hash, agent_id, company_id, sealed_values, ${isUseNoted('run')} as use_is_noted
         from heartbeat_runs where id = ? and status = 'running'`,
      [runId],
    );
    if (!run || !sameHash(shown.hash, run.token_hash)) return null;
    if (run.agent_id !== agentId || run.company_id !== companyId) return null;
    currentScope()!.redactor = this.redactors.find(runId) ?? redactorOf(token, run);
    if (!run.use_is_noted) noteUse(this.em, 'run', runId);
    return { type: 'agent', id: agentId, companyId, runId };
  }
}

/** Of a run that another process executes. */
const redactorOf = (token: string, { sealed_values: sealed }: RunRow) =>
  new Redactor([token, ...(sealed ? openValues(token, sealed) : [])]);
