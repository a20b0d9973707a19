import type { Check } from './check.js';
import { toldOf } from './told.js';

/** Something that one lease at a time holds. */
interface Exclusive {
  readonly name: string;
  readonly called: string;
  /** Columns that name it. */
  readonly key: string;
  readonly which: string;
  /** Until when a lease holds it. */
  readonly until: string;
}

const SLOT: Exclusive = {
  name: 'slots',
  called: `slot %s of environment %s`,
  key: 'slot, environment_id',
  which: 'slot is not null',
  until: 'held_until',
};
const WORKSPACE: Exclusive = {
  name: 'exclusive_workspaces',
  called: `exclusive workspace %s`,
  key: 'execution_workspace_id',
  which: `workspace_mode = 'exclusive'`,
  until: 'released_at',
};

/** Compares each lease with those before it, so that each is looked at once; the other one is looked up only to be named. */
const neverShared = ({ name, called, key, which, until }: Exclusive): Check => ({
  name: `${name}_never_shared`,
  claim: `No two leases ever held one of the ${name.replace('_', ' ')} at the same time.`,
  over: `environment_leases where ${which}`,
  divergences: `
    with held as (
      select id, ${key}, acquired_at, ${until} as until, max(coalesce(${until}, 'infinity')) over (
        partition by ${key} order by acquired_at, fencing_token rows between unbounded preceding and 1 preceding) as taken_until
      from environment_leases where ${which} and (${until} is null or ${until} > acquired_at))
    select h.id, format('Lease %s was acquired at %s, when lease %s held ${called}', h.id, h.acquired_at, (
        select other.id from environment_leases other where ${which} and other.id <> h.id
          and (${key.replaceAll(/\w+/g, 'other.$&')}) = (${key.replaceAll(/\w+/g, 'h.$&')})
          and other.acquired_at <= h.acquired_at and coalesce(other.${until}, 'infinity') > h.acquired_at limit 1),
      ${key.replaceAll(/\w+/g, 'h.$&')}) as sentence
    from held h where h.taken_until > h.acquired_at`,
});

const tokensRise = ({ name, called, key, which }: Exclusive): Check => ({
  name: `tokens_rise_in_${name}`,
  claim: `The fencing tokens of one of the ${name.replace('_', ' ')} rise from holder to holder.`,
  over: `environment_leases where ${which}`,
  divergences: `
    with held as (
      select id, ${key}, fencing_token, max(fencing_token) over (
        partition by ${key} order by acquired_at, fencing_token rows between unbounded preceding and 1 preceding) as highest
      from environment_leases where ${which})
    select id, format('Lease %s has token %s, and an earlier holder of ${called} had token %s', id, fencing_token, ${key},
      highest) as sentence
    from held where fencing_token < highest`,
});

/** What holds of leases and what they hold. */
export const LEASE_CHECKS: readonly Check[] = [
  {
    name: 'leases_begin_and_end_once',
    claim: 'The record tells of one acquisition of each lease, and of one end of each that ended.',
    over: 'environment_leases',
    divergences: `
      with told as (${toldOf('environment_lease')})
      select l.id, format('Lease %s is %s, and the record tells of %s acquisitions and %s ends', l.id, l.status,
        coalesce(told.begins, 0), coalesce(told.ends, 0)) as sentence
      from environment_leases l left join told on told.company_id = l.company_id and told.entity_id = l.id::text
      where coalesce(told.begins, 0) <> 1 or coalesce(told.ends, 0) <> (l.status <> 'active')::integer`,
  },
  neverShared(SLOT),
  neverShared(WORKSPACE),
  tokensRise(SLOT),
  tokensRise(WORKSPACE),
  {
    name: 'tokens_were_given_once',
    claim: 'Each fencing token belongs to one lease.',
    over: 'environment_leases',
    divergences: `
      select id, format('Lease %s has token %s, which lease %s has, too', id, fencing_token, other) as sentence
      from (select id, fencing_token, lag(id) over (partition by fencing_token order by id) as other
        from environment_leases) given
      where other is not null`,
  },
  {
    name: 'tokens_were_drawn',
    claim: 'No fencing token is above the last one that was drawn.',
    over: 'environment_leases',
    divergences: `
      select l.id, format('Lease %s has token %s, and the last one drawn is %s: tokens will be given out again', l.id,
        l.fencing_token, drawn.last_value) as sentence
      from fencing_token drawn join environment_leases l on l.fencing_token > drawn.last_value`,
  },
];
