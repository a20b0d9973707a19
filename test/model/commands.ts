import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import type { ClaimedRun } from '../../src/heartbeat/runs/claimed-run.js';
import { outcome } from '../support/still-app.js';
import { ISSUES, NAMES, type Model, type World } from './world.js';
import { WAKES } from '../support/wakes.js';

/** One thing that somebody does; everything has to hold after it. */
abstract class Step implements fc.AsyncCommand<Model, World> {
  check(_model: Readonly<Model>): boolean {
    return true;
  }

  async run(model: Model, world: World): Promise<void> {
    await this.act(model, world);
    await world.check(model);
    world.played.steps += 1;
  }

  protected abstract act(model: Model, world: World): Promise<void>;

  toString(): string {
    return `${this.constructor.name}(${JSON.stringify({ ...this })})`;
  }
}

function expectStatus(step: Step, { status, body }: { status: number; body: unknown }, ...allowed: number[]): void {
  if (!allowed.includes(status)) throw new Error(`${step.toString()} was answered ${status}: ${JSON.stringify(body)}`);
}

/** A person wakes an agent, for an issue or a task, maybe with a key that was used before. */
class Wake extends Step {
  constructor(
    private readonly agent: number,
    private readonly issue: number | null,
    private readonly taskKey: string | undefined,
    private readonly reason: string | undefined,
    private readonly key: string | undefined,
  ) {
    super();
  }

  protected async act(model: Model, world: World): Promise<void> {
    const issueId = this.issue === null ? undefined : world.issues[this.issue];
    const request = { reason: this.reason, payload: { issueId, taskKey: this.taskKey } };
    const path = `/agents/${world.agents[this.agent]}/wakeup`;
    const answer = await world.api.post(path, { ...request, idempotencyKey: this.key });
    expectStatus(this, answer, 202, 409);
    // A refusal leaves the key free.
    if (!this.key || answer.status !== 202) return;
    const known = `${this.agent} ${this.key}`;
    const first = model.answers.get(known);
    if (first && !isDeepStrictEqual(first, { request, body: answer.body })) {
      throw new Error(
        `${this.toString()} was answered differently the second time: ${JSON.stringify([first, answer.body])}`,
      );
    }
    model.answers.set(known, { request, body: answer.body });
  }
}

/** What is said about an issue, and what is done to it at the same time, by a person or by a run. */
class Change extends Step {
  constructor(
    private readonly issue: number,
    private readonly by: number | null,
    private readonly mention: number | null,
    private readonly change: { status?: string; assignee?: number | null; silent?: boolean },
  ) {
    super();
  }

  protected async act(model: Model, world: World): Promise<void> {
    const { status, assignee, silent = false } = this.change;
    const run = this.by === null ? undefined : pick(model.executing, this.by);
    const body = this.mention === null ? 'Look at this.' : `What do you say, @${NAMES[this.mention]}?`;
    const issueId = world.issues[this.issue];
    const api = run ? world.as(run) : world.api;
    const answer = await api.patch(`/issues/${issueId}`, {
      status,
      ...(assignee === undefined ? {} : { assigneeAgentId: assignee === null ? null : world.agents[assignee] }),
      ...(silent ? {} : { comment: body }),
    });
    expectStatus(this, answer, 200);
    if (!silent) await this.checkWoken(world, issueId, run);
  }

  /** Whom the comment concerns was woken, or skipped, with it; nobody else was. */
  private async checkWoken(world: World, issueId: string, run: ClaimedRun | undefined): Promise<void> {
    const [seen] = await world.query<{ open: boolean; assignee: string | null; woken: string[] }>(
      `select i.status not in ('done', 'cancelled') as open, i.assignee_agent_id as assignee,
         array(select distinct agent_id::text from ${WAKES}
           where payload ->> 'commentId' = c.id::text or payload -> 'wakeCommentIds' ? c.id::text) as woken
       from issues i, lateral (select id from issue_comments where issue_id = i.id order by id desc limit 1) c
       where i.id = $1`,
      [issueId],
    );
    const { open, assignee, woken } = seen;
    const concerned = [open ? assignee : null, this.mention === null ? null : world.agents[this.mention]];
    const expected = [...new Set(concerned)].filter((id) => id && id !== run?.agentId);
    if (JSON.stringify(expected.sort()) !== JSON.stringify(woken.sort())) {
      throw new Error(`${this.toString()} woke ${JSON.stringify(woken)} instead of ${JSON.stringify(expected)}`);
    }
  }
}

/** It lets on what strands only now and then: one that follows another closely does not look for it. */
class Dispatch extends Step {
  protected async act(model: Model, world: World): Promise<void> {
    const run = await world.steps.dispatch();
    if (run) model.executing.push(run);
  }
}

class Sweep extends Step {
  protected async act(model: Model, world: World): Promise<void> {
    await world.steps.sweep();
    model.isStranded = false;
  }
}

const OUTCOMES = {
  succeeded: () => outcome.succeeded(),
  'succeeded with a result': () => outcome.succeeded('The anchor holds.'),
  failed: outcome.failed,
  transient: outcome.transient,
  'timed out': outcome.timedOut,
  'shut down': outcome.shutDown,
};
type Outcome = keyof typeof OUTCOMES;

/** What happens to one of the runs that are being executed. */
abstract class OfExecuting extends Step {
  constructor(protected readonly index: number) {
    super();
  }

  override check({ executing }: Readonly<Model>): boolean {
    return executing.length > 0;
  }

  protected take(model: Model): ClaimedRun {
    return model.executing.splice(this.index % model.executing.length, 1)[0];
  }
}

class Finish extends OfExecuting {
  constructor(
    index: number,
    private readonly outcome: Outcome,
  ) {
    super(index);
  }

  protected async act(model: Model, world: World): Promise<void> {
    const run = this.take(model);
    const isAwaited = await this.hasWaitingComment(run, world);
    if (!(await world.steps.end(run, OUTCOMES[this.outcome]())))
      throw new Error(`${this.toString()} did not end ${run.id}`);
    const [asked] = await world.query(
      `select 1 from heartbeat_runs where retry_of_run_id = $1 and scheduled_retry_reason = 'missing_issue_comment'`,
      [run.id],
    );
    if (isAwaited && asked) throw new Error(`${run.id} was asked for a comment although a comment waits for its agent`);
  }

  private async hasWaitingComment({ issueId, agentId }: ClaimedRun, world: World): Promise<boolean> {
    const rows = await world.query(
      `select 1 from agent_wakeup_requests w join issues i on i.id = w.issue_id and i.assignee_agent_id = w.agent_id
       where w.issue_id = $1 and w.agent_id = $2 and w.status = 'deferred_issue_execution'
         and jsonb_array_length(coalesce(w.payload -> 'wakeCommentIds', '[]')) > 0`,
      [issueId, agentId],
    );
    return rows.length > 0;
  }
}

class Crash extends OfExecuting {
  protected async act(model: Model, world: World): Promise<void> {
    const run = this.take(model);
    model.lost.push(run);
    await world.steps.lose(run);
  }
}

/** A finaliser that ends its run and dies before it looks at what waits. */
class Abandon extends OfExecuting {
  protected async act(model: Model, world: World): Promise<void> {
    model.isStranded = true;
    await world.steps.abandon(this.take(model), outcome.succeeded());
  }
}

/** A runner that was declared dead comes back and wants to say how it went. */
class FinishLate extends Step {
  constructor(private readonly index: number) {
    super();
  }

  override check({ lost }: Readonly<Model>): boolean {
    return lost.length > 0;
  }

  protected async act(model: Model, world: World): Promise<void> {
    const run = pick(model.lost, this.index)!;
    if (await world.steps.end(run, outcome.succeeded('Too late.')))
      throw new Error(`${this.toString()} ended ${run.id}, which was lost`);
  }
}

class Cancel extends Step {
  constructor(private readonly index: number) {
    super();
  }

  protected async act(_model: Model, world: World): Promise<void> {
    const runs = await world.query<{ id: string }>(`select id from heartbeat_runs order by id desc limit 8`);
    const run = pick(runs, this.index);
    if (run) expectStatus(this, await world.api.post(`/heartbeat-runs/${run.id}/cancel`), 200);
  }
}

type Steering = 'pause' | 'drain' | 'resume' | 'terminate';

class Steer extends Step {
  constructor(
    private readonly agent: number,
    private readonly what: Steering,
  ) {
    super();
  }

  protected async act(_model: Model, world: World): Promise<void> {
    const path = `/agents/${world.agents[this.agent]}/${this.what === 'drain' ? 'pause' : this.what}`;
    const answer = await world.api.post(path, this.what === 'drain' ? { drain: true } : {});
    expectStatus(this, answer, 200, ...(this.what === 'terminate' ? [] : [409]));
  }
}

/** Hours pass: retries are due. */
class RetriesAreDue extends Step {
  protected async act(_model: Model, world: World): Promise<void> {
    await world.steps.retriesAreDue();
  }
}

/** Timers are due, and somebody looks. */
class TimersBeat extends Step {
  protected async act(_model: Model, world: World): Promise<void> {
    await world.steps.timersBeat();
  }
}

/** Every lease runs out. */
class AllLeasesRunOut extends Step {
  protected async act(model: Model, world: World): Promise<void> {
    const lost = model.executing.splice(0);
    model.lost.push(...lost);
    await world.steps.lose(...lost);
  }
}

const pick = <T>(list: readonly T[], index: number): T | undefined => list[index % Math.max(list.length, 1)];

const agent = fc.nat(NAMES.length - 1);
const issue = fc.nat(ISSUES - 1);
const index = fc.nat(7);
/** A run that is being executed, or a person. */
const author = fc.option(index, { freq: 1 });
const mention = fc.option(agent, { freq: 1 });
const maybe = <T>(one: fc.Arbitrary<T>) => fc.option(one, { nil: undefined });
const anyOutcome = fc.constantFrom(...(Object.keys(OUTCOMES) as Outcome[]));
const dispatch = fc.constant(new Dispatch());

const wake = fc
  .tuple(
    agent,
    fc.option(issue),
    maybe(fc.constantFrom('knots', 'sails')),
    maybe(fc.constantFrom('issue_assigned', 'execution_review_requested', 'look')),
    maybe(fc.constantFrom('k1', 'k2')),
  )
  .map((fields) => new Wake(...fields));
const comment = fc.tuple(issue, author, mention).map((fields) => new Change(...fields, {}));
const assign = fc
  .tuple(issue, agent)
  .map(([at, assignee]) => new Change(at, null, null, { assignee, status: 'todo', silent: true }));
const change = fc
  .tuple(
    issue,
    author,
    mention,
    fc.record(
      {
        status: fc.constantFrom('todo', 'in_progress', 'done', 'cancelled'),
        assignee: fc.option(agent),
        silent: fc.boolean(),
      },
      { requiredKeys: [] },
    ),
  )
  .map((fields) => new Change(...fields));
const finish = fc.tuple(index, anyOutcome).map((fields) => new Finish(...fields));
const succeed = index.map((at) => new Finish(at, 'succeeded'));
const steer = fc
  .tuple(agent, fc.constantFrom<Steering[]>('pause', 'drain', 'resume', 'resume', 'resume', 'terminate'))
  .map((fields) => new Steer(...fields));

/** What is listed twice happens more often: most of what can go wrong needs several runs after each other. */
export const anyStep: fc.Arbitrary<fc.AsyncCommand<Model, World>>[] = [
  ...[wake, wake, comment, comment, comment, assign, assign, change, change],
  ...[dispatch, dispatch, dispatch, dispatch, finish, finish, finish, succeed],
  index.map((at) => new Crash(at)),
  index.map((at) => new Abandon(at)),
  index.map((at) => new FinishLate(at)),
  index.map((at) => new Cancel(at)),
  steer,
  fc.constant(new RetriesAreDue()),
  fc.constant(new RetriesAreDue()),
  fc.constant(new TimersBeat()),
  fc.constant(new AllLeasesRunOut()),
  fc.constant(new Sweep()),
];
