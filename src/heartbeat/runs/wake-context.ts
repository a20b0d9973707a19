import type { ContextSnapshot } from './heartbeat-run.entity.js';
import { commentIdsOf, mergeIds } from './wake-comments.js';
import type { WakeupRequest } from './wakeup-request.entity.js';

/** Payload fields that tell what woke the run; the rest of a payload is kept under `payload`. */
const OWN_FIELDS = new Set(['issueId', 'commentId', 'taskKey', 'wakeCommentId', 'wakeCommentIds', 'wakeReasons']);

/** What a run is told by the wake that makes it. */
export function contextOf(wake: WakeupRequest): ContextSnapshot {
  const { commentId, taskKey } = wake.payload;
  const commentIds = commentIdsOf(wake);
  return {
    source: wake.source,
    triggerDetail: wake.triggerDetail,
    wakeReason: wake.reason,
    wakeReasons: wake.reasons(),
    ...(wake.issueId ? { issueId: wake.issueId } : {}),
    ...(typeof taskKey === 'string' ? { taskKey } : {}),
    ...(typeof commentId === 'string' ? { commentId } : {}),
    ...(commentIds.length > 0 ? { wakeCommentIds: commentIds, wakeCommentId: commentIds.at(-1) } : {}),
    ...payloadOf(wake),
  };
}

/** What a queued run is told once a further wake has joined it: nothing that it was told before is replaced. */
export function mergeWake(context: ContextSnapshot, wake: WakeupRequest): ContextSnapshot {
  const added = contextOf(wake);
  const wakeReasons = mergeIds(context.wakeReasons, added.wakeReasons);
  const wakeCommentIds = mergeIds(context.wakeCommentIds, added.wakeCommentIds);
  return {
    ...added,
    ...context,
    wakeReasons,
    ...(wakeCommentIds.length > 0 ? { wakeCommentIds, wakeCommentId: wakeCommentIds.at(-1) } : {}),
  };
}

function payloadOf(wake: WakeupRequest): { payload?: Record<string, unknown> } {
  const rest = Object.entries(wake.payload).filter(([name]) => !OWN_FIELDS.has(name));
  return rest.length > 0 ? { payload: Object.fromEntries(rest) } : {};
}
