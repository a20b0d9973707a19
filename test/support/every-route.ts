import type { Policy } from '../../src/auth/policy.js';

interface Schema {
  readonly $ref?: string;
  readonly type?: string;
  readonly format?: string;
  readonly enum?: readonly unknown[];
  readonly example?: unknown;
  readonly minimum?: number;
  readonly items?: Schema;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly allOf?: readonly Schema[];
}

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly schema: Schema;
}

interface Operation {
  readonly 'x-policy': Policy;
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: { readonly 'application/json': { readonly schema: Schema } } };
}

/** As much of the API's description as it takes to call every route with a body that it takes. */
interface RouteDocument {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

/** The least that can be asked of a route. */
export interface RouteRequest {
  /** Method and path as they are described. */
  readonly route: string;
  readonly policy: Policy;
  readonly method: string;
  /** Without `/api`. */
  readonly path: string;
  readonly body: unknown;
}

/** A place where a request can name something by its id, other than its path. */
export interface Reference {
  readonly route: string;
  readonly policy: Policy;
  /** Query parameter, or field of the body. */
  readonly name: string;
  /** The least that can be asked, with this id there. */
  readonly request: (id: string) => RouteRequest;
}

/** What a route asks for and its schema does not say. */
const FIELDS: Record<string, object> = {
  'post /api/companies/{companyId}/activity': { action: 'custom.noted' },
  'post /api/companies/{companyId}/environment-leases': { holder: 'me' },
};

/** So that whoever may have a stream is answered at once: that there is no such event. */
const QUERIES: Record<string, string> = {
  'get /api/companies/{companyId}/activity/stream': '?lastEventId=none',
};

/** What a parameter or field names, given the path. */
type Namer = (name: string, path: string) => string;

/** A request for every route, as the API describes them. */
export async function everyRequest(url: string, name: Namer): Promise<RouteRequest[]> {
  const document = await describedBy(url);
  return operationsOf(document).map((operation) => requestOf(operation, document, name));
}

/** Every place of every route that takes an id: in the query, and however deep in the body. */
export async function everyReference(url: string, name: Namer): Promise<Reference[]> {
  const document = await describedBy(url);
  return operationsOf(document).flatMap((operation) => {
    const { 'x-policy': policy, parameters = [], requestBody, route } = operation;
    const least = () => requestOf(operation, document, name);
    const queries = parameters.filter(({ in: place, schema }) => place === 'query' && schema.format === 'uuid');
    const body = requestBody?.content['application/json'].schema;
    return [
      ...queries.map(({ name: parameter }) => ({
        ...{ route, policy, name: parameter },
        request: (id: string) => ({ ...least(), path: `${least().path}?${parameter}=${id}` }),
      })),
      ...idsIn(body ?? {}, document).map(({ name: field, put }) => ({
        ...{ route, policy, name: field },
        request: (id: string) => ({ ...least(), body: { ...(least().body as object), ...(put(id) as object) } }),
      })),
    ];
  });
}

type Described = Operation & { readonly route: string; readonly method: string; readonly path: string };

const describedBy = async (url: string) => (await (await fetch(`${url}/api/openapi.json`)).json()) as RouteDocument;

const operationsOf = ({ paths }: RouteDocument): Described[] =>
  Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ ...operation, route: `${method} ${path}`, method, path })),
  );

function requestOf({ route, method, path, ...operation }: Described, document: RouteDocument, name: Namer) {
  return {
    route,
    policy: operation['x-policy'],
    method: method.toUpperCase(),
    path: path
      .replace(/^\/api/, '')
      .replaceAll(/\{(\w+)\}/g, (_, parameter: string) => encodeURIComponent(name(parameter, path)))
      .concat(QUERIES[route] ?? ''),
    body: bodyOf(route, operation, document, (field) => name(field, path)),
  };
}

function bodyOf(route: string, { requestBody }: Operation, document: RouteDocument, idOf: (field: string) => string) {
  if (!requestBody) return undefined;
  const { schema } = requestBody.content['application/json'];
  return { ...(sample(schema, '', document, idOf) as object), ...FIELDS[route] };
}

/** The least that a schema lets through. */
function sample(schema: Schema, field: string, document: RouteDocument, idOf: (field: string) => string): unknown {
  const { enum: values, example, type, format, items, minimum } = schema;
  const known = resolved(schema, document);
  if (known !== schema) return sample(known, field, document, idOf);
  if (example !== undefined) return example;
  if (values) return values[0];
  if (type === 'array') return items ? [sample(items, field, document, idOf)] : [];
  if (type === 'number' || type === 'integer') return minimum ?? 1;
  if (type === 'boolean') return false;
  if (type === 'string') return format === 'uuid' ? idOf(field) : 'a text';
  const required = schema.required ?? [];
  return Object.fromEntries(required.map((one) => [one, sample(schema.properties![one], one, document, idOf)]));
}

/** Where a value of a schema has ids, each with the least of such a value that has one there. */
function idsIn(
  schema: Schema,
  document: RouteDocument,
  name = '',
): { readonly name: string; readonly put: (id: string) => unknown }[] {
  const { format, items, properties = {} } = resolved(schema, document);
  if (format === 'uuid') return [{ name, put: (id) => id }];
  const ofItems = items ? idsIn(items, document, name) : [];
  return [
    ...ofItems.map((one) => ({ name, put: (id: string) => [one.put(id)] })),
    ...Object.entries(properties).flatMap(([field, property]) =>
      idsIn(property, document, field).map((one) => ({ ...one, put: (id: string) => ({ [field]: one.put(id) }) })),
    ),
  ];
}

function resolved(schema: Schema, document: RouteDocument): Schema {
  const { $ref, allOf } = schema;
  if ($ref) return resolved(document.components.schemas[$ref.split('/').at(-1)!], document);
  return allOf ? resolved(allOf[0], document) : schema;
}
