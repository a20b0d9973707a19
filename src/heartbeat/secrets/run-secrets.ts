import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';
import { LeaseLostError } from '../../leases/lease-errors.js';
import { textsNamedSecret } from '../../redaction/secret-names.js';
import { SecretResolver } from '../../secrets/secret-resolver.js';
import type { ClaimedRun } from '../runs/claimed-run.js';
import { RunRedactors } from './run-redactors.js';
import { sealValues } from './sealed-values.js';

/** Gives a run the values of the secrets that its agent and its environment name. */
@Injectable()
export class RunSecrets {
  constructor(
    private readonly em: EntityManager,
    private readonly resolver: SecretResolver,
    private readonly redactors: RunRedactors,
  ) {}

  /**
   * The run with values in its configs; to be executed, and never to be kept. Nothing that it writes shows them, nor what
   * it says to any process.
   * @throws LeaseLostError and what the resolver throws: then nothing of the run may be started.
   */
  async reveal(run: ClaimedRun): Promise<ClaimedRun> {
    this.redactors.know(run, []);
    const { companyId, adapterConfig, environment } = run;
    const named = { adapterConfig, envVars: environment.envVars };
    const { configs, values } = await this.resolver.reveal(companyId, named);
    // Plain values that are named like secrets are told apart from secrets by nobody who reads a log.
    const withheld = [...new Set([...values, ...textsNamedSecret(configs)])];
    if (withheld.length > 0) {
      this.redactors.know(run, withheld);
      await this.seal(run, withheld);
    }
    return {
      ...run,
      adapterConfig: configs.adapterConfig,
      environment: { ...environment, envVars: configs.envVars },
    };
  }

  /** Other processes are told by the run's token what to take out, and by nothing that may have changed meanwhile. */
  private async seal({ id, lease, token }: ClaimedRun, values: readonly string[]): Promise<void> {
    const kept = await this.em
      .fork()
      .execute(
        'update heartbeat_runs set sealed_values = ? where id = ? and lease_id = ? and status = ? returning id',
        [sealValues(token, values), id, lease.id, 'running'],
      );
    if (kept.length === 0) throw new LeaseLostError(lease.id);
  }
}
