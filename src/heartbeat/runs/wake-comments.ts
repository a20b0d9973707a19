/** Every comment that a wake speaks of, in order. */
export function commentIdsOf(wake: { payload: Record<string, unknown> }): string[] {
  const { commentId, wakeCommentIds } = wake.payload;
  const listed = Array.isArray(wakeCommentIds) ? wakeCommentIds.filter((id) => typeof id === 'string') : [];
  return mergeIds(listed, typeof commentId === 'string' ? [commentId] : []);
}

/** How many comments, or reasons, one wake or run is told of: wakes that join it without end must not make it grow so. */
const MAX_MERGED = 200;

/** Both lists in order, without repeats; of a long one the first, which it began with, and the latest. */
export function mergeIds(first: readonly string[] = [], second: readonly string[] = []): string[] {
  const merged = [...new Set([...first, ...second])];
  return merged.length <= MAX_MERGED ? merged : [merged[0], ...merged.slice(1 - MAX_MERGED)];
}
