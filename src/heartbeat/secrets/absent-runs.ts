import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';
import { Redactor } from '../../redaction/redactor.js';
import { textsNamedSecret } from '../../redaction/secret-names.js';
import { SecretResolver } from '../../secrets/secret-resolver.js';

/** How long what was found out about a run is used, in milliseconds, and about how many runs. */
const USED_MS = 60_000;
const KEPT_RUNS = 1000;

interface RunRow {
  company_id: string;
  started_at: string;
  adapter_config: Record<string, unknown>;
  env_vars: Record<string, unknown>;
}

/** What must not be shown of runs that other processes execute, as far as the present configs tell. */
@Injectable()
export class AbsentRuns {
  private readonly found = new Map<string, { redactor: Promise<Redactor>; at: number }>();

  constructor(
    private readonly em: EntityManager,
    private readonly resolver: SecretResolver,
  ) {}

  /** @throws what the resolver throws */
  redactorOf(runId: string, token: string): Promise<Redactor> {
    const known = this.found.get(runId);
    if (known && performance.now() - known.at < USED_MS) return known.redactor;
    const redactor = this.find(runId, token);
    redactor.catch(() => this.found.delete(runId));
    this.found.delete(runId);
    this.found.set(runId, { redactor, at: performance.now() });
    if (this.found.size > KEPT_RUNS) this.found.delete(this.found.keys().next().value!);
    return redactor;
  }

  private async find(runId: string, token: string): Promise<Redactor> {
    const [run] = await this.em.fork().execute<RunRow[]>(
      `select r.company_id, r.started_at, a.adapter_config, e.env_vars from heartbeat_runs r
       join agents a on a.id = r.agent_id
       join environment_leases l on l.id = r.lease_id
       join environments e on e.id = l.environment_id
       where r.id = ?`,
      [runId],
    );
    if (!run) return new Redactor([token]);
    const configs = { adapterConfig: run.adapter_config, envVars: run.env_vars };
    const values = await this.resolver.valuesSince(run.company_id, configs, new Date(run.started_at));
    return new Redactor([token, ...values, ...textsNamedSecret(configs)]);
  }
}
