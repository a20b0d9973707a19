import { validateHeaderName, validateHeaderValue } from 'node:http';
import fc from 'fast-check';
import { hostileText, hostileValue } from './hostile.js';
import type { Operation, Parameter, Schema } from './operations.js';
import type { FuzzCaller, FuzzWorld } from './world.js';

/** One request, whatever it means. */
export interface FuzzRequest {
  /** Whether it goes to the server that wants a credential with each. */
  readonly authenticated: boolean;
  readonly method: string;
  /** As it is sent: nothing is encoded any more. */
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
}

type Given = Readonly<Record<string, unknown>>;

/** Requests to one operation about things that exist: some as it takes them, most with something in them that it does not. */
export function requestsTo(operation: Operation, world: FuzzWorld): fc.Arbitrary<FuzzRequest> {
  return fc.oneof(
    { weight: 1, arbitrary: new Requests(world, false).to(operation) },
    { weight: 2, arbitrary: new Requests(world, true).to(operation) },
  );
}

/** Parameters that no route has, or that are there already. */
const strayQuery = (known: readonly string[]): fc.Arbitrary<[string, unknown][]> =>
  fc.array(
    fc.tuple(
      fc.oneof(fc.constantFrom(...known, 'verbose', 'limit[]', 'status[$ne]', '__proto__', ''), hostileText),
      hostileValue,
    ),
    { minLength: 1, maxLength: 3 },
  );

/** Headers that every route reads, or that a parser may stumble over. */
const strayHeaders: fc.Arbitrary<Given> = fc.record(
  {
    'x-request-id': hostileText,
    'x-paperclip-run-id': hostileText,
    authorization: fc.oneof(
      hostileText,
      hostileText.map((text) => `Bearer ${text}`),
    ),
    'content-type': fc.constantFrom(
      'text/plain',
      'application/json; charset=x',
      'application/x-www-form-urlencoded',
      '',
    ),
    accept: hostileText,
  },
  { requiredKeys: [] },
);

/** Bodies that are no JSON, or are none of an object. */
const hostileBody: fc.Arbitrary<string> = fc.oneof(
  hostileValue.map((value) => JSON.stringify(value)),
  fc.constantFrom('', '{', '{"a":1', '[', 'nul', '{"a":1}{"b":2}', '\ufeff{}', '{"a":1e999}', '{"__proto__":null}'),
  fc.constantFrom('['.repeat(50_000), '{"a":'.repeat(20_000), `"${'x'.repeat(1_100_000)}"`),
);

class Requests {
  constructor(
    private readonly world: FuzzWorld,
    private readonly hostile: boolean,
  ) {}

  to({ method, path, parameters, body }: Operation): fc.Arbitrary<FuzzRequest> {
    const within = (place: Parameter['in']) => parameters.filter((parameter) => parameter.in === place);
    const queries = within('query');
    return fc
      .record({
        names: given(within('path'), ({ name }) =>
          this.mostly(fc.constantFrom(...this.world.named(name, path)), hostileText, 14),
        ),
        query: given(queries, ({ name, schema }) => optional(this.valueOf(name, schema))),
        strayQuery: this.mostly(fc.constant([]), strayQuery(queries.map(({ name }) => name)), 12),
        headers: given(within('header'), () => this.mostly(fc.constant(undefined), hostileText, 1)),
        strayHeaders: this.mostly(fc.constant({}), strayHeaders, 12),
        caller: fc.constantFrom<FuzzCaller>(...this.world.callers()),
        body: body ? this.bodyOf(body) : this.mostly(fc.constant(null), hostileBody, 8),
      })
      .map(({ names, query, caller, ...request }) => ({
        authenticated: caller.authenticated,
        method,
        target: targetOf(path, names, [...Object.entries(query), ...request.strayQuery]),
        headers: sendable({
          ...(request.body === null ? {} : { 'content-type': 'application/json' }),
          ...request.headers,
          ...caller.headers,
          ...request.strayHeaders,
        }),
        body: request.body,
      }));
  }

  private bodyOf(schema: Schema): fc.Arbitrary<string | null> {
    const unknown = this.mostly(fc.constant({}), fc.dictionary(hostileText, hostileValue, { maxKeys: 2 }), 10);
    const json = fc
      .tuple(this.fieldsOf(schema), unknown)
      .map(([mine, others]) => JSON.stringify({ ...mine, ...others }));
    return this.mostly(json, hostileBody, 12);
  }

  /** Most of what it can have, or little more than it has to have. */
  private fieldsOf({ properties = {}, required = [] }: Schema): fc.Arbitrary<Given> {
    const fields = Object.entries(properties).map(([name, schema]) => ({ name, schema }));
    const some = (weight: number, against: number) =>
      given(fields, ({ name, schema }) => {
        const value = this.valueOf(name, schema);
        if (required.includes(name)) return this.mostly(value, fc.constant(undefined), 12);
        return optional(value, weight, against);
      });
    return fc.oneof(some(4, 1), some(1, 4));
  }

  /** What a field takes, or what it does not. */
  private valueOf(name: string, schema: Schema): fc.Arbitrary<unknown> {
    return this.mostly(this.valid(name, schema), hostileValue, 12);
  }

  private valid(name: string, schema: Schema): fc.Arbitrary<unknown> {
    const known = this.world.values(name);
    if (known.length > 0) return fc.constantFrom<unknown>(...known, ...(schema.nullable ? [null] : []));
    if (schema.enum) return fc.constantFrom<unknown>(...schema.enum);
    switch (schema.type) {
      case 'number':
      case 'integer':
        return fc.integer({ min: schema.minimum ?? 0, max: Math.min(schema.maximum ?? 1000, 2 ** 31) });
      case 'boolean':
        return fc.boolean();
      case 'array':
        return fc.array(this.valid(name, schema.items ?? {}), { maxLength: 3 });
      case 'object':
        if (schema.properties) return this.fieldsOf(schema);
        return this.mostly(
          fc.constant(schema.example ?? {}),
          fc.dictionary(hostileText, hostileValue, { maxKeys: 3 }),
          1,
        );
      default:
        return fc.oneof(
          fc.string({
            unit: 'grapheme',
            minLength: schema.minLength ?? 0,
            maxLength: Math.min(schema.maxLength ?? 50, 50),
          }),
          fc.constant(schema.example ?? 'text'),
        );
    }
  }

  private mostly<T, U>(usual: fc.Arbitrary<T>, rare: fc.Arbitrary<U>, weight: number): fc.Arbitrary<T | U> {
    return this.hostile ? fc.oneof({ weight, arbitrary: usual }, { weight: 1, arbitrary: rare }) : usual;
  }
}

const optional = <T>(value: fc.Arbitrary<T>, weight = 1, against = 1): fc.Arbitrary<T | undefined> =>
  fc.oneof({ weight, arbitrary: value }, { weight: against, arbitrary: fc.constant(undefined) });

function given<P extends { readonly name: string }>(
  fields: readonly P[],
  value: (field: P) => fc.Arbitrary<unknown>,
): fc.Arbitrary<Given> {
  return fc.record(Object.fromEntries(fields.map((field) => [field.name, value(field)])));
}

function targetOf(path: string, names: Given, query: [string, unknown][]): string {
  const parts = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => encoded(names[name]));
  const pairs = query.filter(([, value]) => value !== undefined);
  const written = pairs.map(([name, value]) => `${encoded(name)}=${encoded(value)}`);
  return pairs.length === 0 ? parts : `${parts}?${written.join('&')}`;
}

/** For an address; bytes that are no text are sent as they are, and what is escaped already is left so. */
function encoded(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  if (/^%[\dz]{2}$/.test(text)) return text;
  return [...text].map((sign) => (/\p{Surrogate}/u.test(sign) ? '%ED%A0%80' : encodeURIComponent(sign))).join('');
}

/** What Node's own client would not put on the wire is left out: that others do is tried byte by byte elsewhere. */
function sendable(headers: Given): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).filter((header): header is [string, string] => {
      const [name, value] = header;
      try {
        validateHeaderName(name);
        validateHeaderValue(name, value as string);
        return typeof value === 'string' && value.length < 20_000;
      } catch {
        return false;
      }
    }),
  );
}
