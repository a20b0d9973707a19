import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { verifyRecord } from '../../src/activity/verify/verify-record.js';
import type { CrashPoint } from './crash-point.js';
import { CrashProxy } from './crash-proxy.js';
import { eventually } from './eventually.js';
import { Scenario } from './scenario.js';
import { ServerProcess } from './server-process.js';
import { createTestDatabase, type TestDatabase } from './test-database.js';

/** What happens up to the crash: a whole life with a successor; or a loss that the process itself finds out. */
export type Story = 'life' | 'loss';

interface Cast {
  readonly companyId: string;
  readonly first: string;
  readonly second: string;
  readonly issueId: string;
}

/** Long enough for a busy machine; what is seen ends the wait. */
const SETTLED_MS = 90_000;

/** What came of a crash. */
export interface Crash {
  readonly at: CrashPoint;
  readonly problems: string[];
}

/** A server process that dies where it is told to, and its successors on the same database and home. */
export class CrashHarbour {
  private server!: ServerProcess;
  private isDead = false;
  /** Where lines are added by what is executed. */
  private readonly tally: string;
  /** Where what is executed waits for a file with the name of its run. */
  private readonly gates: string;

  private constructor(
    private readonly database: TestDatabase,
    private readonly proxy: CrashProxy,
    private readonly home: string,
  ) {
    this.tally = path.join(home, 'executed');
    this.gates = path.join(home, 'gates');
  }

  /** @param onPassed told of every boundary that a process comes by. */
  static async open(onPassed: (point: CrashPoint) => void): Promise<CrashHarbour> {
    const database = await createTestDatabase();
    const home = await mkdtemp(path.join(tmpdir(), 'berth-crash-'));
    const harbour = new CrashHarbour(database, await CrashProxy.start(database.url, onPassed), home);
    await appendFile(harbour.tally, '');
    await mkdir(harbour.gates);
    await harbour.start();
    return harbour;
  }

  /**
   * Plays a story in which the process dies at the first point that is wanted, and lets another process go on from there.
   * @returns null when the story came to its end without coming by such a point.
   */
  async crash(story: Story, wants: (point: CrashPoint) => boolean): Promise<Crash | null> {
    const cast = await this.cast(story);
    const died = this.proxy.crashAt(wants, () => {
      this.isDead = true;
      process.kill(this.server.pid, 'SIGKILL');
    });
    const played = this.play(story, cast).then(() => this.settled(cast));
    const at = await Promise.race([died, played.then(() => null)]).catch((error: unknown) => {
      if (this.isDead) return died;
      throw error;
    });
    this.proxy.callOff();
    if (!at) return null;
    await Promise.all([played.catch(() => undefined), this.server.ended]);
    // What it died before is not lost a second time.
    await mkdir(this.lossOf(cast.companyId), { recursive: true });
    await this.timePasses();
    await this.start();
    return { at, problems: await this.problemsAfter(story, cast).catch((error: unknown) => [String(error)]) };
  }

  async close(): Promise<void> {
    await this.server.stop();
    await this.proxy.close();
    await this.database.close();
    await rm(this.home, { recursive: true, force: true });
  }

  private get user(): Scenario {
    return new Scenario(this.server.url);
  }

  private async start(): Promise<void> {
    this.isDead = false;
    this.server = await ServerProcess.spawn({
      ...{ BERTH_HOME: this.home, BERTH_DATABASE_URL: this.proxy.url, BERTH_RUNNER_SLOTS: '2' },
    }).ready();
  }

  /** Two agents and the issue that both are woken for, in an environment that has room for one. */
  private async cast(story: Story): Promise<Cast> {
    const companyId = await this.user.company();
    const environment = {
      ...{ name: 'Berths', driver: 'local', capacity: 1 },
      config: { directory: 'per_lease', cwd: path.join(this.home, 'berths') },
    };
    const { status } = await this.user.api.post(`/companies/${companyId}/environments`, environment);
    if (status !== 201) throw new Error(`The environment was answered ${status}`);
    const count = `echo $PAPERCLIP_RUN_ID >> '${this.tally}'; echo Under way.`;
    const wait = `until [ -e '${this.gates}/'$PAPERCLIP_RUN_ID ]; do sleep 0.02; done`;
    const once = `mkdir '${this.lossOf(companyId)}' 2>/dev/null && sleep 600`;
    const first = await this.user.agent(companyId, [count, ...(story === 'loss' ? [once] : []), wait].join('; '));
    const second = await this.user.agent(companyId, [count, wait].join('; '));
    return { companyId, first, second, issueId: await this.user.issue(companyId) };
  }

  private async play(story: Story, cast: Cast): Promise<void> {
    await this.wake(cast);
    if (story === 'life') return;
    await this.see(
      () => this.called(cast),
      (runs) => runs.length > 0,
    );
    await this.query(`update environment_leases set ${PAST} where status = 'active' and company_id = $1`, cast);
  }

  private async wake({ first, second, issueId, companyId }: Cast): Promise<void> {
    for (const agentId of [first, second]) {
      await this.user.wake(agentId, { payload: { issueId }, idempotencyKey: `${companyId} ${agentId}` });
    }
  }

  /** What nobody renews has run out, and what nobody makes any more has had its time; once PostgreSQL is done with the dead. */
  private async timePasses(): Promise<void> {
    const sessions = () => this.database.query(SESSIONS);
    await eventually(sessions, ({ length }) => length === 0, SETTLED_MS);
    await this.database.query(`update environment_leases set ${PAST} where status = 'active'`);
    await this.database.query(
      `update environment_places set realise_deadline_at = least(realise_deadline_at, now()),
         next_attempt_at = case when next_attempt_at is not null then now() end where state <> 'gone'`,
    );
  }

  /** Everything that was wanted has come to its end, and is cleaned up. Each run ends once it is noted what it called. */
  private async settled(cast: Cast): Promise<void> {
    const open = async () => {
      for (const { id } of await this.called(cast)) await writeFile(path.join(this.gates, id), '');
      return this.query(OPEN, cast);
    };
    await this.see(open, ({ length }) => length === 0);
  }

  private called(cast: Cast): Promise<{ id: string }[]> {
    return this.query(
      `select id from heartbeat_runs where company_id = $1 and invocation is not null and finished_at is null`,
      cast,
    );
  }

  /** Looks until that can be seen, or the process has died. */
  private async see<T>(look: () => Promise<T>, fits: (seen: T) => boolean): Promise<void> {
    await eventually(look, (seen) => this.isDead || fits(seen), SETTLED_MS);
  }

  /** Made by the first run that is to be lost: no later one is. */
  private lossOf(companyId: string): string {
    return path.join(this.home, companyId);
  }

  /** @throws Error when it does not come to an end. */
  private async problemsAfter(story: Story, cast: Cast): Promise<string[]> {
    // Whoever was not answered asks again.
    await this.wake(cast);
    await this.settled(cast);
    const found = (await this.query<{ problem: string }>(problemsOf(story), cast)).map(({ problem }) => problem);
    const results = await verifyRecord(this.database.url, 30);
    found.push(...results.flatMap(({ divergences }) => divergences.map(({ sentence }) => sentence)));
    const executed = (await readFile(this.tally, 'utf8')).trim().split('\n');
    const runs = await this.query<{ id: string; status: string }>(
      'select id, status from heartbeat_runs where company_id = $1',
      cast,
    );
    for (const { id, status } of runs) {
      const times = executed.filter((line) => line === id).length;
      if (times > 1 || (times === 0 && status === 'succeeded')) found.push(`The run ${id} was executed ${times} times`);
    }
    const left = await readdir(path.join(this.home, 'berths'));
    if (left.length > 0) found.push(`There are directories left: ${left.join(', ')}`);
    return found;
  }

  private query<Row extends object>(sql: string, { companyId }: Cast): Promise<Row[]> {
    return this.database.query<Row>(sql, [companyId]);
  }
}

const SESSIONS = `
  select pid from pg_stat_activity where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()`;
const PAST = `expires_at = acquired_at + interval '1 millisecond'`;

/** What is under way, or was never begun: each agent has a wake that came to something. */
const OPEN = `
  select id from heartbeat_runs where company_id = $1 and finished_at is null
  union all select id from agent_wakeup_requests where company_id = $1 and finished_at is null
  union all select id from environment_leases where company_id = $1 and held_until is null
  union all select id from environment_places where company_id = $1 and state <> 'gone'
  union all select id from agents a where company_id = $1
    and not exists (select from heartbeat_runs r where r.agent_id = a.id)`;

/** Where a run was lost before the crash its retry may be lost by it, and what was lost twice is not tried again. */
const LOST_TWICE: Record<Story, string> = {
  life: 'false',
  loss: `every(error_code = 'process_lost') and count(*) = 2`,
};

const problemsOf = (story: Story) => `
  select format('Of the runs of agent %s %s succeeded, the last is %s', agent_id, count(*) filter (where status = 'succeeded'),
      (array_agg(status order by id desc))[1]) as problem
    from heartbeat_runs where company_id = $1 group by agent_id
    having (count(*) filter (where status = 'succeeded') <> 1 or (array_agg(status order by id desc))[1] <> 'succeeded'
      or count(*) > 2) and (${LOST_TWICE[story]}) is not true
  union all select format('The run %s has %s and %s', id, status, error_code) from heartbeat_runs
    where company_id = $1 and status <> 'succeeded' and error_code is distinct from 'process_lost'
  union all select format('The run %s has %s successors', retry_of_run_id, count(*)) from heartbeat_runs
    where company_id = $1 and retry_of_run_id is not null group by retry_of_run_id having count(*) > 1
  union all select format('The leases %s and %s held the issue at once', a.id, b.id)
    from environment_leases a join environment_leases b on b.issue_id = a.issue_id and b.id > a.id
    where a.company_id = $1 and a.released_at > b.acquired_at`;
