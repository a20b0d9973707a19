import { LOCAL_OPERATOR } from '../../events/actor.js';
import { currentActor } from '../../events/request-scope.js';

/** What limits count a caller by who has shown a credential; null for one who needs none. */
export function credentialOf(): string | null {
  const actor = currentActor();
  if (actor.type === 'agent') return `agent:${actor.id}:${actor.runId ?? ''}`;
  return actor.type === 'user' && actor.id !== LOCAL_OPERATOR.id ? `user:${actor.id}` : null;
}
