import type { ContextSnapshot, InvocationSource, TriggerDetail } from './heartbeat-run.entity.js';
import { commentIdsOf, mergeIds } from './wake-comments.js';

/** A wish that an agent runs, under its id. */
export interface Wish {
  readonly id: string;
  readonly companyId: string;
  readonly agentId: string;
  readonly issueId?: string | null;
  readonly source: InvocationSource;
  readonly triggerDetail?: TriggerDetail | null;
  readonly reason?: string | null;
  readonly payload: Record<string, unknown>;
}

/** Every reason that a wish stands for, its own first. */
export function reasonsOf({ reason, payload: { wakeReasons } }: Pick<Wish, 'reason' | 'payload'>): string[] {
  const merged = Array.isArray(wakeReasons) ? wakeReasons.filter((other) => typeof other === 'string') : [];
  return mergeIds(reason ? [reason] : [], merged);
}

/** Payload fields that tell what woke the run; the rest of a payload is kept under `payload`. */
const OWN_FIELDS = new Set(['issueId', 'commentId', 'taskKey', 'wakeCommentId', 'wakeCommentIds', 'wakeReasons']);

/** What a run is told by the wake that makes it, beyond the source, which is the run's own. */
export function contextOf(wake: Wish): ContextSnapshot {
  const { commentId, taskKey } = wake.payload;
  const commentIds = commentIdsOf(wake);
  const reasons = reasonsOf(wake);
  return {
    ...(wake.reason ? { wakeReason: wake.reason } : {}),
    ...(reasons.length > 0 ? { wakeReasons: reasons } : {}),
    ...(wake.issueId ? { issueId: wake.issueId } : {}),
    ...(typeof taskKey === 'string' ? { taskKey } : {}),
    ...(typeof commentId === 'string' ? { commentId } : {}),
    ...(commentIds.length > 0 ? { wakeCommentIds: commentIds, wakeCommentId: commentIds.at(-1) } : {}),
    ...payloadOf(wake),
  };
}

/** What a queued run is told once a further wake has joined it: nothing that it was told before is replaced. */
export function mergeWake(context: ContextSnapshot, wake: Wish): ContextSnapshot {
  const { wakeReason: _, ...added } = contextOf(wake);
  const wakeReasons = mergeIds(context.wakeReasons, added.wakeReasons);
  const wakeCommentIds = mergeIds(context.wakeCommentIds, added.wakeCommentIds);
  return {
    ...added,
    ...context,
    ...(wakeReasons.length > 0 ? { wakeReasons } : {}),
    ...(wakeCommentIds.length > 0 ? { wakeCommentIds, wakeCommentId: wakeCommentIds.at(-1) } : {}),
  };
}

function payloadOf(wake: Wish): { payload?: Record<string, unknown> } {
  const rest = Object.entries(wake.payload).filter(([name]) => !OWN_FIELDS.has(name));
  return rest.length > 0 ? { payload: Object.fromEntries(rest) } : {};
}
