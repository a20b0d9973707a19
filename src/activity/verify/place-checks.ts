import type { Check } from './check.js';

/** What holds between places and the leases that hold them. */
export const PLACE_CHECKS: readonly Check[] = [
  {
    name: 'places_have_their_facts',
    claim: 'Each place has what taking it down needs: a driver, its facts, and its lease.',
    over: 'environment_places',
    divergences: `
      select p.id, format('Place %s has no %s', p.id, case when p.driver = '' then 'driver'
        when l.id is null then format('lease: there is no %s', p.lease_id) else 'facts' end) as sentence
      from environment_places p left join environment_leases l on l.id = p.lease_id and l.company_id = p.company_id
      where p.driver = '' or l.id is null or jsonb_typeof(p.facts) <> 'object' or p.facts = '{}'`,
  },
  {
    name: 'places_are_held',
    claim: 'Each place that has not gone is held by its lease.',
    over: `environment_places where state <> 'gone'`,
    divergences: `
      select p.id, format('Place %s is %s, and its lease %s %s', p.id, p.state, p.lease_id, case
        when l.id is null then 'is missing' when l.held_until is not null then format('let go of it at %s', l.held_until)
        else format('has %s', coalesce('place ' || l.place_id, 'none')) end) as sentence
      from environment_places p left join environment_leases l on l.id = p.lease_id
      where p.state <> 'gone' and (l.id is null or l.held_until is not null or l.place_id is distinct from p.id)`,
  },
  {
    name: 'nothing_is_held_by_nobody',
    claim: 'What a lease still holds after its end is held by its place.',
    over: `environment_leases where held_until is null and status <> 'active'`,
    divergences: `
      select l.id, format('Lease %s is %s and still holds %s, and %s', l.id, l.status,
        coalesce(format('slot %s', l.slot), 'its environment'), case when l.place_id is null then 'it has no place'
          else format('its place %s is %s', l.place_id, case when p.id is null then 'missing'
            when p.lease_id <> l.id then 'another lease''s' else p.state end) end) as sentence
      from environment_leases l left join environment_places p on p.id = l.place_id
      where l.held_until is null and l.status <> 'active'
        and (p.id is null or p.state = 'gone' or p.lease_id <> l.id)`,
  },
  {
    name: 'leases_let_go_in_order',
    claim: 'An active lease holds its environment, and nothing is let go of before the lease has ended.',
    over: 'environment_leases',
    divergences: `
      select id, format('Lease %s is %s until %s and let go of its environment at %s', id, status,
        coalesce(released_at::text, 'now'), held_until) as sentence
      from environment_leases where held_until < coalesce(released_at, 'infinity')`,
  },
];
