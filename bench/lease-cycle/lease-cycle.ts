import { Meter, addUp, type Cost } from '../meter.ts';
import type { Benchmark, Findings, Setting } from '../benchmark.ts';
import { Cluster } from '../cluster.ts';
import { interleave, ratio, roundsTable, slowdown, type Round } from '../rounds.ts';
import { Floor, templateOf } from './floor.ts';
import { pgbench } from './pgbench.ts';
import { Queue } from './queue.ts';
import { assertSameRows } from './same-rows.ts';
import { startServices } from './services.ts';

/** How many clients, how many runs are queued when the clock starts, and how often they drain the queue in a round. */
const LOADS = [
  { clients: 1, runs: 64, drains: 4 },
  { clients: 8, runs: 64, drains: 16 },
  { clients: 32, runs: 256, drains: 8 },
];

export const leaseCycle: Benchmark = {
  name: 'lease-cycle',
  about:
    'Provision and finalise of a run: it becomes `running` with its lease, then both end, and four entries go to the ' +
    'record. Berth: `ProvisionService` and `FinaliseService` in the benchmark’s process, as a runner calls them, nothing ' +
    'being executed in between. Floor: a bare `pg` client in the same process that sends the same writes as one prepared ' +
    'statement for each of the two transactions, not batched; it is told which run to start, and counts, locks and ' +
    'checks nothing; that both leave the same rows is checked. Closed loop: each client begins its next cycle when its ' +
    'last one has committed. The clock stops while the next 64 runs (256 for 32 clients) are queued.',
  run,
};

async function run({ quick, say }: Setting): Promise<Findings> {
  await using cluster = await Cluster.start();
  await using services = await startServices(cluster);
  const queue = await Queue.prepare(services.url, cluster.watcher);
  const [first] = await queue.fill(1);
  if ((await services.cycle()) !== first) throw new Error('The first run was not started');
  const template = await templateOf(first, cluster.watcher);
  const meter = new Meter(cluster.watcher, [process.pid]);
  const taken: { clients: number; floor: Round[]; berth: Round[] }[] = [];
  for (const { clients, runs, drains } of LOADS) {
    say(`× ${clients}`);
    await using floor = await Floor.connect(cluster.url, clients, template);
    if (taken.length === 0) await checkFloor(cluster, queue, floor, first);
    const round = (cycle: (client: number, run: string) => Promise<boolean>) => () =>
      drain({ clients, runs, drains: quick ? drains / 4 : drains, queue, meter, cycle });
    // Statistics of tables that were nearly empty would make plans for nearly empty ones: autovacuum comes too late here.
    if (taken.length === 0) await round(async () => (await services.cycle()) !== null)();
    await cluster.watcher.query('vacuum analyze');
    const rounds = await interleave(quick ? 3 : 7, {
      floor: round((client, run) => floor.cycle(client, run).then(() => true)),
      berth: round(async () => (await services.cycle()) !== null),
    });
    taken.push({ clients, ...rounds });
  }
  const pgbenchTable = await pgbench({ cluster, queue, template, quick });
  return {
    tables: [
      roundsTable(
        'Lease cycles, × clients',
        taken.flatMap(({ clients, floor, berth }) => [
          { name: `floor × ${clients}`, rounds: floor },
          { name: `Berth × ${clients}`, rounds: berth, floor },
        ]),
      ),
      ...(pgbenchTable ? [pgbenchTable] : []),
    ],
    checks: checksOf(taken),
    ...(pgbenchTable ? {} : { notes: ['`pgbench` is not installed here.'] }),
  };
}

function checksOf(taken: { clients: number; floor: Round[]; berth: Round[] }[]): Findings['checks'] {
  const at = (clients: number) => taken.find((load) => load.clients === clients)!;
  const rateRatio = ({ berth, floor }: ReturnType<typeof at>) => ratio(berth, floor);
  return [
    { kind: 'gate', what: '8 clients: rate, of the floor’s', measured: rateRatio(at(8)), atLeast: 0.6 },
    { kind: 'gate', what: '32 clients: rate, of the floor’s', measured: rateRatio(at(32)), atLeast: 1.3 },
    {
      kind: 'gate',
      what: '1 client: p50, times the floor’s',
      measured: slowdown(at(1).berth, at(1).floor, 50),
      atMost: 3,
    },
  ];
}

async function checkFloor({ watcher }: Cluster, queue: Queue, floor: Floor, berths: string): Promise<void> {
  const [floors] = await queue.fill(1);
  await floor.cycle(0, floors);
  await assertSameRows(watcher, berths, floors);
}

interface Load {
  readonly clients: number;
  readonly runs: number;
  readonly drains: number;
  readonly queue: Queue;
  readonly meter: Meter;
  /** @returns whether there was a run to start. */
  readonly cycle: (client: number, run: string) => Promise<boolean>;
}

/** One round: fills the queue and has the clients drain it, several times. */
async function drain({ clients, runs, drains, queue, meter, cycle }: Load): Promise<Round> {
  const latencies: number[] = [];
  const costs: Cost[] = [];
  let seconds = 0;
  for (let time = 0; time < drains; time++) {
    const queued = await queue.fill(runs);
    const client = async (_: unknown, number: number) => {
      for (let run = queued.pop(); run !== undefined; run = queued.pop()) {
        const begunAt = performance.now();
        // What another client's transaction holds is passed over: it can be had at the next look.
        while (!(await cycle(number, run)));
        latencies.push(performance.now() - begunAt);
      }
    };
    const work = async () => {
      const begunAt = performance.now();
      await Promise.all(Array.from({ length: clients }, client));
      seconds += (performance.now() - begunAt) / 1000;
    };
    costs.push(await meter.during(work));
  }
  return { operations: latencies.length, seconds, latencies, cost: addUp(costs) };
}
