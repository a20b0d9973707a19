import { Client } from 'pg';
import { POLICIES, type Policy } from '../../src/auth/policy.js';
import type { ApiClient, Refusal } from '../support/api-client.js';
import { everyReference, everyRequest, type RouteRequest } from '../support/every-route.js';
import { KeptRows } from '../support/kept-rows.js';
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

/** What a request can name besides its path: in its query or its body. */
interface Reference {
  readonly route: string;
  readonly policy: Policy;
  readonly name: string;
  /** The least that can be asked, with these things named there. */
  readonly about: (things: Things) => RouteRequest;
}

type Fields = Readonly<Record<string, (things: Things) => object>>;

const OF_WAKES: Fields = {
  'payload.issueId': ({ issueId }) => ({ payload: { issueId } }),
  'payload.issueId, an identifier': ({ identifier }) => ({ payload: { issueId: identifier } }),
  'payload.commentId': ({ issueId, commentId }) => ({ payload: { issueId, commentId } }),
};
const naming = ({ secretId }: Things) => ({ TOKEN: { secretRef: secretId } });
const OF_AGENTS: Fields = {
  'adapterConfig.env': (things) => ({ adapterConfig: { command: 'true', env: naming(things) } }),
};
const OF_ENVIRONMENTS: Fields = { envVars: (things) => ({ envVars: naming(things) }) };

/** Where bodies name things without being described as doing so. */
const UNDESCRIBED: Readonly<Record<string, Fields>> = {
  'post /api/agents/{id}/wakeup': OF_WAKES,
  'post /api/agents/{id}/heartbeat/invoke': OF_WAKES,
  'post /api/companies/{companyId}/agents': OF_AGENTS,
  'patch /api/agents/{id}': OF_AGENTS,
  'post /api/companies/{companyId}/environments': OF_ENVIRONMENTS,
  'post /api/companies/{companyId}/environments/probe-config': OF_ENVIRONMENTS,
  'patch /api/environments/{id}': OF_ENVIRONMENTS,
};

/** Generated from the API's description: a new route is asked by itself. */
describe('a company', () => {
  let app: TestApp;
  let user: Scenario;
  let theirs: Things;
  let ours: Things;
  let aboutThem: RouteRequest[];
  let aboutUs: RouteRequest[];
  let references: Reference[];
  let callers: Record<Who, ApiClient>;
  let client: Client;
  let keptOfThem: KeptRows;

  beforeAll(async () => {
    app = await startStillApp();
    user = new Scenario(app.url);
    theirs = await makeEverything(app, user, 'Theirs');
    ours = await makeEverything(app, user, 'Ours');
    const requests = await everyRequest(app.url, (parameter, path) => nameOf(theirs, parameter, path));
    aboutThem = requests.filter(({ route, policy }) => route.includes('{') && POLICIES[policy].who !== 'instance');
    const byOurName = (name: string, path: string) => nameOf(ours, name, path);
    aboutUs = await everyRequest(app.url, byOurName);
    const described = await everyReference(app.url, byOurName);
    references = [
      ...described.map(({ request, ...reference }) => ({
        ...reference,
        about: (things: Things) => request(nameOf(things, reference.name, '')),
      })),
      ...Object.entries(UNDESCRIBED).flatMap(([route, fields]) => {
        const least = aboutUs.find((request) => request.route === route)!;
        return Object.entries(fields).map(([name, of]) => ({
          ...{ route, policy: least.policy, name },
          about: (things: Things) => ({ ...least, body: { ...(least.body as object), ...of(things) } }),
        }));
      }),
    ];
    callers = await callersIn(app, user, ours);
    client = new Client(app.database.url);
    await client.connect();
    keptOfThem = await KeptRows.in(client, theirs.companyId);
  });
  afterAll(async () => {
    await client.end();
    await app.close();
  });

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

  /** Where a caller of this kind can name something. */
  const nameableBy = (kind: Who) =>
    references.filter(({ policy }) => {
      const { who, writes } = POLICIES[policy];
      if (kind === 'agent' || kind === 'run') return who === 'members';
      return who !== 'instance' && !(writes && kind === 'reader');
    });

  it.each(KINDS)('gives nothing to %s of another who names it in a query or a body', async (_who, kind) => {
    const named = nameableBy(kind);
    expect(named.length).toBeGreaterThan(11);
    const kept = await keptOfThem.read();
    const leaks = [];
    for (const { route, name, about } of named) {
      const { method, path, body } = about(theirs);
      const answer = await callers[kind].send(method, path, body);
      const asked = answer.status < 400 ? '' : JSON.stringify([path, body]);
      const text = JSON.stringify(answer.body);
      // A refusal may say again what was asked for.
      const told = ['Theirs', ...Object.values(theirs)].filter((one) => text.includes(one) && !asked.includes(one));
      if (answer.status >= 500 || told.length > 0) leaks.push([route, name, answer.status, told]);
    }
    expect(leaks).toEqual([]);
    expect(await keptOfThem.read()).toEqual(kept);
  });

  it('has its own things taken, and found, wherever its operator names them', async () => {
    const writesFirst = nameableBy('operator').toSorted((a, b) => b.route.localeCompare(a.route));
    const refused = [];
    for (const { route, name, about } of writesFirst) {
      const { method, path, body } = about(ours);
      const answer = await callers.operator.send<Refusal | unknown[]>(method, path, body);
      const found = !Array.isArray(answer.body) || answer.body.length > 0;
      if (answer.status >= 300 || !found) refused.push([route, name, answer.status, (answer.body as Refusal).code]);
    }
    // It has its `Local` already: this is looked at last.
    expect(refused).toEqual([
      ['post /api/companies/{companyId}/environments', 'envVars', 409, 'local_environment_exists'],
    ]);
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
      if (answer[0] === 400 || answer[0] === 404) missing.push([request.route, ...answer]);
    }
    expect(missing).toEqual([]);
  });
});
