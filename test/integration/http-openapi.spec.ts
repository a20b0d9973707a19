import { startTestApp, type TestApp } from '../support/test-app.js';

interface Operation {
  summary?: string;
  tags?: string[];
  security?: unknown[];
  responses: Record<string, { content?: Record<string, { schema?: unknown }> }>;
}

/** What can be asked by whoever shows nothing, also where every other request needs a credential. */

describe('the description of the whole API', () => {
  let berth: TestApp;
  let operations: [string, Operation][];

  beforeAll(async () => {
    berth = await startTestApp();
    const document = (await (await fetch(`${berth.url}/api/openapi.json`)).json()) as {
      paths: Record<string, Record<string, Operation>>;
    };
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
});
