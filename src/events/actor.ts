/** Who caused a change. */
export type Actor =
  | { readonly type: 'user'; readonly id: string }
  | {
      readonly type: 'agent';
      readonly id: string;
      readonly companyId: string;
      /** The run on whose behalf the agent acts: set when it showed that run's token. */
      readonly runId: string | null;
    }
  | { readonly type: 'system'; readonly id: string };

/** The operator of a local trusted server: whoever can reach its loopback address. */
export const LOCAL_OPERATOR: Actor = { type: 'user', id: 'local-operator' };

/** Berth itself, by the part that acted (`runner:<id>`, `reaper`). */
export const systemActor = (part: string): Actor => ({ type: 'system', id: part });
