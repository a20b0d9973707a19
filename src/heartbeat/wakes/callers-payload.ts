import { InvalidInputError } from '../../errors/domain-error.js';

/**
 * What a caller may tell the agent that it wakes; reasons and lists of comments are kept by Berth itself.
 * @throws InvalidInputError
 */
export function callersPayload(payload: Record<string, unknown>): Record<string, unknown> {
  const { wakeReasons: _reasons, wakeCommentIds: _ids, wakeCommentId: _id, ...own } = payload;
  for (const field of ['issueId', 'commentId', 'taskKey']) {
    const value = own[field];
    if (value === undefined || value === null || typeof value === 'string') continue;
    throw new InvalidInputError('The payload is not valid', [
      { field: `payload.${field}`, message: 'must be a string' },
    ]);
  }
  return own;
}
