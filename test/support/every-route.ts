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

interface Operation {
  readonly 'x-policy': Policy;
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

/** What a route asks for and its schema does not say. */
const FIELDS: Record<string, object> = {
  'post /api/companies/{companyId}/activity': { action: 'custom.noted' },
  'post /api/companies/{companyId}/environment-leases': { holder: 'me' },
};

/** So that whoever may have a stream is answered at once: that there is no such event. */
const QUERIES: Record<string, string> = {
  'get /api/companies/{companyId}/activity/stream': '?lastEventId=none',
};

/**
 * A request for every route, as the API describes them.
 * @param name what each parameter names, given the path that it is in.
 */
export async function everyRequest(
  url: string,
  name: (parameter: string, path: string) => string,
): Promise<RouteRequest[]> {
  const document = (await (await fetch(`${url}/api/openapi.json`)).json()) as RouteDocument;
  return Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({
      route: `${method} ${path}`,
      policy: operation['x-policy'],
      method: method.toUpperCase(),
      path: path
        .replace(/^\/api/, '')
        .replaceAll(/\{(\w+)\}/g, (_, parameter: string) => encodeURIComponent(name(parameter, path)))
        .concat(QUERIES[`${method} ${path}`] ?? ''),
      body: bodyOf(`${method} ${path}`, operation, document),
    })),
  );
}

function bodyOf(route: string, { requestBody }: Operation, document: RouteDocument): unknown {
  if (!requestBody) return undefined;
  return { ...(sample(requestBody.content['application/json'].schema, document) as object), ...FIELDS[route] };
}

/** The least that a schema lets through. */
function sample(schema: Schema, document: RouteDocument): unknown {
  const { $ref, allOf, type, format, items, minimum } = schema;
  if ($ref) return sample(document.components.schemas[$ref.split('/').at(-1)!], document);
  if (allOf) return sample(allOf[0], document);
  if (schema.example !== undefined) return schema.example;
  if (schema.enum) return schema.enum[0];
  if (type === 'array') return items ? [sample(items, document)] : [];
  if (type === 'number' || type === 'integer') return minimum ?? 1;
  if (type === 'boolean') return false;
  if (type === 'string') return format === 'uuid' ? '01900000-0000-7000-8000-000000000000' : 'a text';
  const required = (schema.required ?? []).map((field) => [field, sample(schema.properties![field], document)]);
  return Object.fromEntries(required);
}
