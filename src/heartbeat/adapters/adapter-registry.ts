import { Injectable, type OnModuleInit } from '@nestjs/common';
import { AdapterCatalog, UnknownAdapterError } from '../../agents/adapter-catalog.js';
import type { Adapter, ExecutionLimits } from './adapter.port.js';
import { HttpAdapter } from './http-adapter.js';
import { ProcessAdapter } from './process-adapter.js';

/** Every adapter that is built in. Add one here to have it offered, validated and used. */
@Injectable()
export class AdapterRegistry implements OnModuleInit {
  private readonly adapters: ReadonlyMap<string, Adapter>;

  constructor(
    private readonly catalog: AdapterCatalog,
    process: ProcessAdapter,
    http: HttpAdapter,
  ) {
    const all: Adapter[] = [process, http];
    this.adapters = new Map(all.map((adapter) => [adapter.type, adapter]));
  }

  onModuleInit(): void {
    for (const adapter of this.adapters.values()) this.catalog.register(adapter);
  }

  /** What a run of this adapter is held to; nothing where the adapter is not known, because that cannot execute. */
  limitsOf(type: string, config: Record<string, unknown>): ExecutionLimits | null {
    return this.adapters.get(type)?.limits(config) ?? null;
  }

  /** @throws UnknownAdapterError for an agent that an older or newer Berth has made. */
  get(type: string): Adapter {
    const adapter = this.adapters.get(type);
    if (!adapter) throw new UnknownAdapterError(type, [...this.adapters.keys()]);
    return adapter;
  }
}
