import { Injectable } from '@nestjs/common';
import { textsNamedSecret } from '../../redaction/secret-names.js';
import { SecretResolver } from '../../secrets/secret-resolver.js';
import type { ClaimedRun } from '../runs/claimed-run.js';
import { RunRedactors } from './run-redactors.js';

/** Gives a run the values of the secrets that its agent and its environment name. */
@Injectable()
export class RunSecrets {
  constructor(
    private readonly resolver: SecretResolver,
    private readonly redactors: RunRedactors,
  ) {}

  /**
   * The run with values in its configs; to be executed, and never to be kept. Nothing that it writes shows them.
   * @throws what the resolver throws: then nothing of the run may be started.
   */
  async reveal(run: ClaimedRun): Promise<ClaimedRun> {
    this.redactors.know(run, []);
    const { companyId, adapterConfig, environment } = run;
    const named = { adapterConfig, envVars: environment.envVars };
    const { configs, values } = await this.resolver.reveal(companyId, named);
    // Plain values that are named like secrets are told apart from secrets by nobody who reads a log.
    const plain = textsNamedSecret(configs);
    if (values.length + plain.length > 0) this.redactors.know(run, [...values, ...plain]);
    return {
      ...run,
      adapterConfig: configs.adapterConfig,
      environment: { ...environment, envVars: configs.envVars },
    };
  }
}
