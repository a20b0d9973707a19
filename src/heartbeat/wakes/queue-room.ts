import { Injectable } from '@nestjs/common';
import { EntityManager } from '@mikro-orm/postgresql';
import { QueuedRunsQuotaError } from './wake-errors.js';

/** Where no more than these are left, what others queue at the same moment matters. */
const NEARLY_FULL = 100;

/** An agent as far as its company's room is read with it. */
interface Roomed {
  readonly company_id: string;
  readonly max_queued_runs: number | null;
  readonly queue_room: number | null;
}

/** How many of a company's runs may wait to start, and for how many more there is room; both null where any number may. */
export interface QueueRoom {
  readonly max: number | null;
  left: number | null;
}

/** Keeps companies from queueing runs without end. */
@Injectable()
export class QueueRooms {
  constructor(private readonly em: EntityManager) {}

  /**
   * The room of each company of these agents. It was counted when they were read; where there is little of it, it is counted
   * again here, after everybody else who does so for the company has committed. Who holds more than the agents and issues
   * of the wakes, as whoever wakes for an event does, must not wait here: it goes by the first count.
   */
  async of(agents: Roomed[], isFinal: boolean): Promise<Map<string, QueueRoom>> {
    const rooms = new Map<string, QueueRoom>(
      agents.map(({ company_id, max_queued_runs, queue_room }) => [
        company_id,
        { max: max_queued_runs, left: queue_room },
      ]),
    );
    const scarce = [...rooms].filter(([, { left }]) => left !== null && left < NEARLY_FULL).map(([id]) => id);
    if (!isFinal || scarce.length === 0) return rooms;
    const ids = `{${scarce.toSorted().join(',')}}`;
    await this.em.execute(
      `select pg_advisory_xact_lock(hashtextextended('companies.queued_runs ' || id, 0)) from unnest(?::text[]) as id`,
      [ids],
    );
    const counted = await this.em.execute<{ id: string; left: number }[]>(
      `select id, ${queueRoomOf('companies')} as left from companies where id = any(?::uuid[])`,
      [ids],
    );
    for (const { id, left } of counted) rooms.get(id)!.left = left;
    return rooms;
  }
}

/** In SQL: for how many more queued runs a company has room; the count stops at what it may have. Null for any number. */
export const queueRoomOf = (company: string) => `(case when ${company}.max_queued_runs is not null then
  ${company}.max_queued_runs - (select count(*) from (select from heartbeat_runs q
    where q.company_id = ${company}.id and q.status in ('queued', 'scheduled_retry') limit ${company}.max_queued_runs) waiting)
  end)::integer`;

/** Takes the room for one more run. @returns why there is none, or null. */
export function takeRoom(room: QueueRoom | undefined): QueuedRunsQuotaError | null {
  if (!room || room.left === null) return null;
  if (room.left <= 0) return new QueuedRunsQuotaError(room.max ?? 0);
  room.left -= 1;
  return null;
}
