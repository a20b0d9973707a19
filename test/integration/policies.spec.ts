import { RequestMethod } from '@nestjs/common';
import { METHOD_METADATA, PATH_METADATA } from '@nestjs/common/constants.js';
import { ModulesContainer } from '@nestjs/core';
import type { FastifyInstance } from 'fastify';
import { channel } from 'node:diagnostics_channel';
import { POLICY } from '../../src/auth/access.decorator.js';
import { POLICIES, type Policy } from '../../src/auth/policy.js';
import { startStillApp } from '../support/still-app.js';
import type { TestApp } from '../support/test-app.js';

interface Operation {
  'x-policy'?: Policy;
  security?: Record<string, unknown>[];
  responses: Record<string, { description: string }>;
}

interface Document {
  paths: Record<string, Record<string, Operation>>;
  components: { securitySchemes: Record<string, unknown> };
}

const ALL = ['operatorKey', 'agentKey', 'runToken'];

/** What no guard looks at, because Nest does not know it: the API's description, the page that shows it and that page's parts. */
const WITHOUT_GUARD = [
  'get /api/openapi.json',
  ...['', '/', '/index.html', '/swagger-ui-init.js', '/docs/swagger-ui-init.js', '/LICENSE', '/*'].map(
    (part) => `get /docs${part}`,
  ),
];

/** Notes every route of every server that is made from now on, whoever puts it there. */
function noteRoutes(): { noted: string[]; stop: () => void } {
  const noted: string[] = [];
  const initialised = channel('fastify.initialization');
  const watch = (message: unknown) => {
    (message as { fastify: FastifyInstance }).fastify.addHook('onRoute', ({ method, url }) => {
      for (const one of [method].flat()) noted.push(`${one.toLowerCase()} ${url.replaceAll(/:(\w+)/g, '{$1}')}`);
    });
  };
  initialised.subscribe(watch);
  return { noted, stop: () => initialised.unsubscribe(watch) };
}

/** Every handler of the application that a path leads to, with what it says of itself. */
function handlersOf(app: TestApp): { name: string; route: string; policy: unknown }[] {
  const controllers = [...app.app.get(ModulesContainer).values()].flatMap((module) => [...module.controllers.values()]);
  return controllers.flatMap(({ metatype }) => {
    if (!metatype) return [];
    const prototype = metatype.prototype as Record<string, object>;
    return Object.getOwnPropertyNames(prototype).flatMap((method) => {
      const handler = prototype[method];
      const path = Reflect.getMetadata(PATH_METADATA, handler) as string | undefined;
      if (method === 'constructor' || path === undefined) return [];
      const verb = RequestMethod[Reflect.getMetadata(METHOD_METADATA, handler) as RequestMethod].toLowerCase();
      const base = Reflect.getMetadata(PATH_METADATA, metatype) as string;
      const full = ['api', base, path]
        .flatMap((part) => part.split('/'))
        .filter(Boolean)
        .join('/');
      const route = `${verb} /${full.replace(/^api\/metrics$/, 'metrics').replaceAll(/:(\w+)/g, '{$1}')}`;
      return [{ name: `${metatype.name}.${method}`, route, policy: Reflect.getMetadata(POLICY, handler) as unknown }];
    });
  });
}

describe('every route', () => {
  let trusted: TestApp;
  let authenticated: TestApp;
  let served: string[];

  beforeAll(async () => {
    const { noted, stop } = noteRoutes();
    trusted = await startStillApp();
    stop();
    served = noted;
    authenticated = await startStillApp({
      database: trusted.database,
      config: { auth: 'authenticated' },
      showFirstKey: () => undefined,
    });
  });
  afterAll(async () => {
    await authenticated.close();
    await trusted.close();
  });

  const documentOf = async ({ url }: TestApp) => (await (await fetch(`${url}/api/openapi.json`)).json()) as Document;
  const operationsOf = ({ paths }: Document) =>
    Object.entries(paths).flatMap(([path, item]) =>
      Object.entries(item).map(([method, operation]) => ({ route: `${method} ${path}`, ...operation })),
    );

  it('says who may call it', () => {
    const handlers = handlersOf(trusted);
    expect(handlers.length).toBeGreaterThan(70);
    expect(handlers.filter(({ policy }) => !(String(policy) in POLICIES))).toEqual([]);
  });

  it('is described, with its policy', async () => {
    const described = operationsOf(await documentOf(trusted)).map((operation) => [
      operation.route,
      operation['x-policy'],
    ]);
    const handlers = handlersOf(trusted).map(({ route, policy }) => [route, policy]);
    expect(described.toSorted()).toEqual(handlers.toSorted());
  });

  it('has a guard before it, whoever put it on the server', async () => {
    const described = operationsOf(await documentOf(trusted)).map(({ route }) => route);
    // Fastify puts one for the headers alone beside each that can be read.
    const headersOnly = served.filter((route) => route.startsWith('head '));
    expect(served.filter((route) => !headersOnly.includes(route)).toSorted()).toEqual(
      [...described, ...WITHOUT_GUARD].toSorted(),
    );
    expect(headersOnly.filter((route) => !served.includes(route.replace('head', 'get')))).toEqual([]);
  });

  it('is described with the credentials that it wants, and how it refuses others', async () => {
    const document = await documentOf(authenticated);
    expect(Object.keys(document.components.securitySchemes).toSorted()).toEqual(ALL.toSorted());
    for (const { route, security = [], responses, 'x-policy': policy } of operationsOf(document)) {
      const wanted = security.flatMap((one) => Object.keys(one));
      const { who, writes } = POLICIES[policy!];
      const expected = { everybody: [], members: ALL, operators: ['operatorKey'], instance: ['operatorKey'] }[who];
      expect([route, wanted]).toEqual([route, expected]);
      if (who === 'everybody') continue;
      expect([route, Object.keys(responses)]).toEqual([route, expect.arrayContaining(['401'])]);
      const refusal = responses['403']?.description ?? '';
      expect([route, refusal.includes('`read_only_key`')]).toEqual([route, writes]);
      expect([route, refusal.includes('`instance_key_required`')]).toEqual([route, who === 'instance']);
    }
  });

  it('is described as open to those without a credential in local trusted mode alone', async () => {
    const isOpen = ({ security = [] }: Operation) => security.some((one) => Object.keys(one).length === 0);
    expect(operationsOf(await documentOf(trusted)).filter((operation) => !isOpen(operation))).toEqual([]);
    const open = operationsOf(await documentOf(authenticated)).filter(isOpen);
    expect(open.map(({ route }) => route).toSorted()).toEqual([
      'get /api/health',
      'get /api/health/live',
      'get /api/health/ready',
    ]);
  });

  it('is refused as a mistake of ours when it does not say who may call it', async () => {
    const handler = handlersOf(trusted).find(({ route }) => route === 'get /api/companies')!;
    const [controller, method] = handler.name.split('.');
    const { metatype } = [...trusted.app.get(ModulesContainer).values()]
      .flatMap((module) => [...module.controllers.values()])
      .find((one) => one.metatype?.name === controller)!;
    const listed = (metatype!.prototype as Record<string, object>)[method];
    Reflect.deleteMetadata(POLICY, listed);
    try {
      expect((await fetch(`${trusted.url}/api/companies`)).status).toBe(500);
    } finally {
      Reflect.defineMetadata(POLICY, handler.policy, listed);
    }
    expect((await fetch(`${trusted.url}/api/companies`)).status).toBe(200);
  });
});
