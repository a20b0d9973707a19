import { AsyncLocalStorage } from 'node:async_hooks';
import type { Redactor } from '../redaction/redactor.js';
import { systemActor, type Actor } from './actor.js';

/** What is known about the request or task that is being carried out. */
export interface RequestScope {
  actor: Actor;
  requestId: string | null;
  /** Takes out what must not be shown of the run whose token was shown. */
  redactor?: Redactor;
}

const storage = new AsyncLocalStorage<RequestScope>();
const IDLE: Actor = systemActor('berth');

/** Runs `work` in a scope of its own: everything it records carries this actor. */
export function runInScope<T>(scope: RequestScope, work: () => T): T {
  return storage.run(scope, work);
}

/** The scope of the current request, if there is one; its actor is filled in once credentials are checked. */
export const currentScope = (): RequestScope | undefined => storage.getStore();

/** Who is acting now; Berth itself where no request or task says otherwise. */
export const currentActor = (): Actor => storage.getStore()?.actor ?? IDLE;
