import type { KeptPlace } from '../../leases/places/begin-places.js';
import type { ChosenEnvironment } from './chosen-environments.js';
import type { GatedRun } from './gate.js';
import { Room } from './room.js';

describe(Room.name, () => {
  const place = (id: string, adapterType: string) =>
    ({ id, state: 'warm', host: null, configFingerprint: 'f', adapterType, slot: 1 }) as KeptPlace;
  const environment = (fields: Partial<ChosenEnvironment>) =>
    ({
      ...{ id: 'environment', leasePolicy: 'reuse_by_environment', fingerprint: 'f', counted: true },
      ...{ held: 0, slots: new Set(), givingWay: 0, requests: [], kept: [] },
      ...fields,
    }) as unknown as ChosenEnvironment;
  const run = (adapterType = 'process') =>
    ({
      ...{ agent_id: 'agent', agent_cap: 9, agent_running: 0, company_id: 'company', company_cap: null },
      ...{ company_running: 0, workspace_host: null, adapter_type: adapterType, due_at: '2026-01-01T00:00:00Z' },
    }) as GatedRun;

  const full = (kept: KeptPlace[], givingWay = 0) => environment({ capacity: 2, held: 2, kept, givingWay });

  it('hands a warm place that fits over, with its slot', () => {
    const seat = new Room('here').take(run(), full([place('warm', 'process')]));
    expect(seat).toMatchObject({ slot: 1, kept: { id: 'warm' } });
  });

  it('has a warm place give way that does not fit, one for each that waits', () => {
    const room = new Room('here');
    const there = full([place('first', 'http'), place('second', 'http')]);
    expect(room.take(run(), there)).toBeNull();
    expect(room.evicted).toEqual(['second']);
    expect(room.take(run(), there)).toBeNull();
    expect(room.evicted).toEqual(['second', 'first']);
  });

  it('lets the other stay while the first is being taken down', () => {
    const room = new Room('here');
    expect(room.take(run(), full([place('other', 'http')], 1))).toBeNull();
    expect(room.evicted).toEqual([]);
  });

  it('gives nothing of an environment that it has not counted', () => {
    expect(new Room('here').take(run(), environment({ capacity: 5, counted: false }))).toBeNull();
  });
});
