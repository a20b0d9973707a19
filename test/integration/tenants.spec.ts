import { POLICIES } from '../../src/auth/policy.js';
import type { ApiClient, Refusal } from '../support/api-client.js';
import { everyRequest, type RouteRequest } from '../support/every-route.js';
import { callersIn, makeEverything, nameOf, type Things } from '../support/one-of-everything.js';
import { Scenario } from '../support/scenario.js';
import { startStillApp } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';

type Who = keyof Awaited<ReturnType<typeof callersIn>>;

const KINDS: [string, Who][] = [
  ['an operator', 'operator'],
  ['an operator who can read only', 'reader'],
  ['an agent', 'agent'],
  ['a run', 'run'],
];

/** Generated from the API's description: a new route is asked by itself. */
describe('a company', () => {
  let app: TestApp;
  let user: Scenario;
  let theirs: Things;
  let aboutThem: RouteRequest[];
  let aboutUs: RouteRequest[];
  let callers: Record<Who, ApiClient>;

  beforeAll(async () => {
    app = await startStillApp();
    user = new Scenario(app.url);
    theirs = await makeEverything(app, user, 'Theirs');
    const ours = await makeEverything(app, user, 'Ours');
    const requests = await everyRequest(app.url, (parameter, path) => nameOf(theirs, parameter, path));
    aboutThem = requests.filter(({ route, policy }) => route.includes('{') && POLICIES[policy].who !== 'instance');
    aboutUs = await everyRequest(app.url, (parameter, path) => nameOf(ours, parameter, path));
    callers = await callersIn(app, user, ours);
  });
  afterAll(() => app.close());

  const send = async (caller: ApiClient, { method, path, body }: RouteRequest) => {
    const answer = await caller.send<Refusal>(method, path, body);
    return [answer.status, answer.body?.code] as const;
  };
  /** What was answered otherwise than by this refusal. */
  const otherwise = async (caller: ApiClient, requests: RouteRequest[], refusal: readonly [number, string]) => {
    const answers = [];
    for (const request of requests) {
      const answer = await send(caller, request);
      if (answer.join() !== refusal.join()) answers.push([request.route, ...answer]);
    }
    return answers;
  };
  const asked = (who: string[], writes?: boolean) =>
    aboutUs.filter(({ policy, route }) => {
      const audience = POLICIES[policy];
      return who.includes(audience.who) && (writes ?? audience.writes) === audience.writes && !/metrics$/.test(route);
    });

  it.each(KINDS)('is not there for %s of another, whatever is asked about it', async (_who, kind) => {
    expect(aboutThem.length).toBeGreaterThan(55);
    expect(await otherwise(callers[kind], aboutThem, [404, 'not_found'])).toEqual([]);
  });

  it.each(KINDS)('is not there for %s of another who knows a name in it', async (_who, kind) => {
    const byName = `/agents/deckhand?companyId=${theirs.companyId}`;
    expect((await callers[kind].get(byName)).status).toBe(404);
  });

  it.each(KINDS)('is in no list for %s of another', async (_who, kind) => {
    const { body } = await callers[kind].get<{ name: string }[]>('/companies');
    expect(body.map(({ name }) => name)).toEqual(['Ours']);
  });

  it('has not been changed by any of them', async () => {
    const changes = await app.database.query(
      `select action from activity_log
       where company_id = $1 and actor_id <> 'local-operator' and actor_type <> 'system'`,
      [theirs.companyId],
    );
    expect(changes).toEqual([]);
  });

  it.each(KINDS.slice(2))('does not let %s of its own do what is for operators', async (_who, kind) => {
    const forOperators = asked(['operators', 'instance']);
    expect(forOperators.length).toBeGreaterThan(30);
    expect(await otherwise(callers[kind], forOperators, [403, 'operator_only'])).toEqual([]);
  });

  it('lets an operator of its own who can read only change nothing', async () => {
    const changing = asked(['members', 'operators'], true);
    expect(changing.length).toBeGreaterThan(30);
    expect(await otherwise(callers.reader, changing, [403, 'read_only_key'])).toEqual([]);
  });

  it.each(KINDS.slice(0, 2))('does not make %s of its own one of the instance', async (_who, kind) => {
    const ofInstance = asked(['instance']);
    expect(ofInstance.length).toBeGreaterThan(8);
    expect(await otherwise(callers[kind], ofInstance, [403, 'instance_key_required'])).toEqual([]);
  });

  it.each(KINDS)('can be read by %s of its own', async (_who, kind) => {
    const readable = asked(['members'], false).filter(({ route }) => !/(stream|agents\/me)$/.test(route));
    expect(readable.length).toBeGreaterThan(20);
    const refused = [];
    for (const request of readable) {
      const answer = await send(callers[kind], request);
      if (answer[0] !== 200) refused.push([request.route, ...answer]);
    }
    expect(refused).toEqual([]);
  });

  it('is there, with all that was asked about, for who may see it', async () => {
    const order = ['GET', 'PATCH', 'POST', 'DELETE'];
    const inOrder = aboutThem.toSorted((a, b) => order.indexOf(a.method) - order.indexOf(b.method));
    const missing = [];
    for (const request of inOrder.filter(({ route }) => !/stream$/.test(route))) {
      const answer = await send(user.api, request);
      // The environment of a reservation is named by its body.
      if (answer[0] === 400 || (answer[0] === 404 && !/environment-leases$/.test(request.route))) {
        missing.push([request.route, ...answer]);
      }
    }
    expect(missing).toEqual([]);
  });
});
