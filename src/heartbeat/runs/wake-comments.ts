/** Every comment that a wake speaks of, in order. */
export function commentIdsOf(wake: { payload: Record<string, unknown> }): string[] {
  const { commentId, wakeCommentIds } = wake.payload;
  const listed = Array.isArray(wakeCommentIds) ? wakeCommentIds.filter((id) => typeof id === 'string') : [];
  return mergeIds(listed, typeof commentId === 'string' ? [commentId] : []);
}

/** Both lists in order, without repeats. */
export function mergeIds(first: readonly string[] = [], second: readonly string[] = []): string[] {
  return [...new Set([...first, ...second])];
}
