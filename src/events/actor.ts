/** What an operator's key lets it do. */
export interface OperatorKeyScope {
  readonly id: string;
  readonly name: string;
  /** The only companies that it can see; null for all, and for what belongs to none. */
  readonly companyIds: readonly string[] | null;
  readonly readOnly: boolean;
}

/** Who caused a change. */
export type Actor =
  | {
      readonly type: 'user';
      readonly id: string;
      /** The key that was shown; null for whoever reaches the address of a local trusted server, and may do everything. */
      readonly key: OperatorKeyScope | null;
    }
  | {
      readonly type: 'agent';
      readonly id: string;
      readonly companyId: string;
      /** The run on whose behalf the agent acts: set when it showed that run's token. */
      readonly runId: string | null;
    }
  | { readonly type: 'system'; readonly id: string };

/** Who can call from outside. */
export type Caller = Exclude<Actor, { readonly type: 'system' }>;

/** The operator of a local trusted server: whoever can reach its loopback address. */
export const LOCAL_OPERATOR: Caller = { type: 'user', id: 'local-operator', key: null };

/** An operator, as the record names one: by the key that it showed. */
export const keyOperator = (key: OperatorKeyScope): Caller => ({ type: 'user', id: `operator-key:${key.id}`, key });

/** Berth itself, by the part that acted (`runner:<id>`, `reaper`). */
export const systemActor = (part: string): Actor => ({ type: 'system', id: part });
