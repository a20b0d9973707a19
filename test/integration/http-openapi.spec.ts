import { ModulesContainer } from '@nestjs/core';
import { getMetadataStorage } from 'class-validator';
import { startTestApp, type TestApp } from '../support/test-app.js';

interface Schema {
  $ref?: string;
  allOf?: Schema[];
  properties?: Record<string, Schema>;
}

interface Operation {
  summary?: string;
  tags?: string[];
  security?: unknown[];
  requestBody?: { content: Record<string, { schema: Schema }> };
  responses: Record<string, { content?: Record<string, { schema?: unknown }> }>;
}

type Dto = abstract new (...args: never[]) => unknown;

describe('the description of the whole API', () => {
  let berth: TestApp;
  let operations: [string, Operation][];
  let schemas: Record<string, Schema>;

  beforeAll(async () => {
    berth = await startTestApp();
    const document = (await (await fetch(`${berth.url}/api/openapi.json`)).json()) as {
      paths: Record<string, Record<string, Operation>>;
      components: { schemas: Record<string, Schema> };
    };
    schemas = document.components.schemas;
    operations = Object.entries(document.paths).flatMap(([path, item]) =>
      Object.entries(item).map(([method, operation]): [string, Operation] => [`${method} ${path}`, operation]),
    );
  });
  afterAll(() => berth.close());

  const lacking = (has: (operation: Operation, route: string) => unknown) =>
    operations.filter(([route, operation]) => !has(operation, route)).map(([route]) => route);

  it('says of every route what it does, where it belongs, and who may call it', () => {
    expect(operations.length).toBeGreaterThan(50);
    expect(lacking(({ summary }) => summary)).toEqual([]);
    expect(lacking(({ tags }) => tags?.length)).toEqual([]);
    expect(lacking(({ security }) => security?.length)).toEqual([]);
  });

  it('says of every route what it answers', () => {
    const answers = ({ responses }: Operation) =>
      Object.entries(responses).filter(([status]) => status.startsWith('2'));
    const described = (operation: Operation) =>
      answers(operation).length > 0 &&
      answers(operation).every(([status, { content }]) => status === '204' || Object.keys(content ?? {}).length > 0);
    expect(lacking(described)).toEqual([]);
  });

  it('says of every route how it refuses', () => {
    const everywhere = ['401', '421', '429', '431', '500', '503'];
    expect(lacking(({ responses }) => everywhere.every((status) => responses[status]?.content))).toEqual([]);
    expect(lacking(({ responses }, route) => !route.includes('{') || responses['404'])).toEqual([]);
  });

  /** The names of all schemas that a schema is made of, its own first. */
  const namedIn = ({ $ref, allOf = [], properties = {} }: Schema): string[] => {
    const name = $ref?.split('/').at(-1);
    const parts = [...allOf, ...Object.values(properties), ...(name ? [schemas[name]] : [])];
    return [...(name ? [name] : []), ...parts.flatMap(namedIn)];
  };
  /** What handlers are given, by its name. */
  const dtos = () => {
    const controllers = [...berth.app.get(ModulesContainer).values()].flatMap(({ controllers }) => [
      ...controllers.values(),
    ]);
    const given = controllers.flatMap(({ metatype }) => {
      const prototype = metatype!.prototype as object;
      const methods = Object.getOwnPropertyNames(prototype);
      return methods.flatMap((method) => (Reflect.getMetadata('design:paramtypes', prototype, method) ?? []) as Dto[]);
    });
    return new Map(given.map((dto) => [dto.name, dto]));
  };
  const checkedIn = (dto: Dto) =>
    getMetadataStorage()
      .getTargetValidationMetadatas(dto, '', false, false)
      .map(({ propertyName }) => propertyName);

  it('says of every body each field that is checked, and leaves none empty', () => {
    const bodies = operations.flatMap(([, { requestBody }]) =>
      namedIn(requestBody?.content['application/json'].schema ?? {}),
    );
    expect(new Set(bodies).size).toBeGreaterThan(25);
    const known = dtos();
    const lacking = [...new Set(bodies)].flatMap((name) => {
      const described = Object.keys(schemas[name].properties ?? {});
      const dto = known.get(name);
      const missing = (dto ? checkedIn(dto) : []).filter((field) => !described.includes(field));
      return described.length === 0 || missing.length > 0 ? [[name, ...new Set(missing)]] : [];
    });
    expect(lacking).toEqual([]);
  });
});
