import { Injectable } from '@nestjs/common';
import { DomainError } from '../errors/domain-error.js';

/** What an agent's owner needs of an adapter: its name and its rules for `adapterConfig`. */
export interface AdapterDescription {
  readonly type: string;
  /** @throws InvalidInputError naming each field that is wrong. */
  validateConfig(config: Record<string, unknown>): void;
}

/** No adapter of this name is built in. */
export class UnknownAdapterError extends DomainError {
  readonly kind = 'invalid';
  readonly code = 'unknown_adapter';

  constructor(type: string, known: string[]) {
    super(`There is no adapter "${type}"; choose one of: ${known.join(', ')}`, [
      { field: 'adapterType', message: `must be one of: ${known.join(', ')}` },
    ]);
  }
}

/** The adapters that agents can use. They live above this module and put themselves in here at start. */
@Injectable()
export class AdapterCatalog {
  private readonly adapters = new Map<string, AdapterDescription>();

  register(adapter: AdapterDescription): void {
    this.adapters.set(adapter.type, adapter);
  }

  /**
   * Checks an agent's choice of adapter and its config.
   * @throws UnknownAdapterError, InvalidInputError
   */
  validate(type: string, config: Record<string, unknown>): void {
    const adapter = this.adapters.get(type);
    if (!adapter) throw new UnknownAdapterError(type, [...this.adapters.keys()]);
    adapter.validateConfig(config);
  }
}
