import type { ContextSnapshot } from './heartbeat-run.entity.js';
import { reasonsOf, mergeWake } from './wake-context.js';
import { WakeupRequest } from './wakeup-request.entity.js';

const wake = (reason: string, payload: Record<string, unknown> = {}) =>
  Object.assign(Object.create(WakeupRequest.prototype) as WakeupRequest, { reason, payload, coalescedCount: 0 });
const sizeOf = (value: unknown) => JSON.stringify(value).length;

describe('wakes that join without end', () => {
  it('make the wake that waits for all of them no larger than so', () => {
    const waiting = wake('first', { wakeCommentIds: ['comment first'], note: 'kept' });
    for (let n = 0; n < 300; n++) {
      waiting.absorb({
        reason: `reason ${n}`,
        payload: { commentId: `comment ${n}`, [`field ${n}`]: 'x'.repeat(1000) },
      });
    }
    expect(sizeOf(waiting.payload)).toBeLessThan(160 * 1024);
    expect(waiting.coalescedCount).toBe(300);
    expect(waiting.payload).toMatchObject({
      note: 'kept',
      'field 0': expect.any(String),
      wakeCommentId: 'comment 299',
    });
    expect(reasonsOf(waiting)).toHaveLength(200);
    expect(reasonsOf(waiting)).toEqual(expect.arrayContaining(['first', 'reason 299']));
    expect(waiting.payload.wakeCommentIds).toEqual(expect.arrayContaining(['comment first', 'comment 299']));
  });

  it('make the queued run no larger than so', () => {
    let context: ContextSnapshot = {};
    for (let n = 0; n < 300; n++) {
      context = mergeWake(
        context,
        wake(`reason ${n}`, { commentId: `comment ${n}`, [`field ${n}`]: 'x'.repeat(1000) }),
      );
    }
    expect(sizeOf(context)).toBeLessThan(16 * 1024);
    expect(context.wakeReasons).toEqual(expect.arrayContaining(['reason 0', 'reason 299']));
    expect(context.wakeCommentIds).toEqual(expect.arrayContaining(['comment 0', 'comment 299']));
  });
});
