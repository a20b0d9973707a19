import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { DocumentBuilder, SwaggerModule, type OpenAPIObject } from '@nestjs/swagger';
import { registeredEvents } from '../events/domain-event.js';
import metadata from '../metadata.js';
import { BerthConfig, type AuthMode } from '../config/config.js';
import { ErrorResponse } from './error-response.dto.js';
import { describeCredentials } from './openapi-credentials.js';

type Operation = NonNullable<OpenAPIObject['paths'][string]['get']>;

const METHODS = ['get', 'post', 'patch', 'put', 'delete'] as const;

/** What each refusal means, for the routes that do not say it themselves. */
const REFUSALS = {
  400: 'Malformed or invalid; `details` has one entry per field',
  401: 'No credential was shown where one is needed, or one that stands for nobody',
  403: 'The caller is known, and may not do this in its own company',
  404: "Unknown, or another company's",
  409: 'Conflicts with the current state; `details` say what holds it',
  410: 'Ended for good',
  413: 'The body is too large',
  415: 'The body is not JSON',
  421: 'This server does not have the name in the `Host` header',
  422: 'Valid, but not acceptable',
  429: 'More than is allowed at once or in a minute; try again after `Retry-After` seconds',
  431: 'The headers are too large',
  500: 'Something went wrong on our side',
  503: 'The database cannot be reached; try again after `Retry-After` seconds',
} as const;

const MODES: Record<AuthMode, string> = {
  local_trusted: 'This server is in local trusted mode: a request without credentials is the operator.',
  authenticated: 'This server wants a credential with every request.',
};

type Refusal = keyof typeof REFUSALS;

const ERROR_SCHEMA = { $ref: '#/components/schemas/ErrorResponse' };

/** Serves the API's description: a page to read under `/docs`, the document at `/api/openapi.json`. */
export async function serveOpenApi(app: NestFastifyApplication): Promise<void> {
  await SwaggerModule.loadPluginMetadata(metadata);
  SwaggerModule.setup('docs', app, () => openApiDocument(app), { jsonDocumentUrl: 'api/openapi.json', raw: ['json'] });
}

function openApiDocument(app: NestFastifyApplication): OpenAPIObject {
  const { auth } = app.get(BerthConfig);
  const builder = new DocumentBuilder()
    .setTitle('Berth')
    .setDescription(
      `Gives every run of an AI agent a place to execute, under a lease, with a record that proves it. ${MODES[auth]} ` +
        'Each route names the credentials with which it can be called, and its policy as `x-policy`.',
    )
    .setVersion('1');
  const config = describeCredentials(builder).build();
  const document = SwaggerModule.createDocument(app, config, { extraModels: [ErrorResponse] });
  for (const [path, item] of Object.entries(document.paths)) {
    for (const method of METHODS) {
      const operation = item[method];
      if (operation) completeOperation(operation, method, path, auth);
    }
  }
  nameActions(document);
  return document;
}

/** Adds what holds for every route: that it can be called without a credential, where it can, and how it refuses. */
function completeOperation(operation: Operation, method: string, path: string, auth: AuthMode): void {
  const isPublic = !operation.security;
  if (isPublic || auth === 'local_trusted') operation.security = [{}, ...(operation.security ?? [])];
  for (const refusal of refusalsOf(operation, method, path)) {
    const declared = operation.responses[refusal];
    if (declared && '$ref' in declared) continue;
    const content = declared?.content ?? { 'application/json': { schema: ERROR_SCHEMA } };
    operation.responses = {
      ...operation.responses,
      [refusal]: { ...declared, description: describe(refusal, operation, declared?.description), content },
    };
  }
}

/** What a route says of a refusal, and the codes of those that its policy ends in. */
function describe(refusal: Refusal, operation: Operation, declared = ''): string {
  const byPolicy = refusal === 403 ? codesOf(operation).map((code) => `\`${code}\``) : [];
  return [...byPolicy, declared].filter(Boolean).join(', ') || REFUSALS[refusal];
}

const codesOf = (operation: Operation): string[] => (operation as { 'x-refusals'?: string[] })['x-refusals'] ?? [];

/** The refusals that a route declares, and those that follow from its shape. */
function refusalsOf(operation: Operation, method: string, path: string): Refusal[] {
  const { responses, requestBody, parameters } = operation;
  const hasBody = requestBody !== undefined;
  const applies: Record<Refusal, boolean> = {
    400: hasBody || (parameters ?? []).length > 0,
    // Also where none is needed: one that is shown has to count.
    401: true,
    403: true,
    404: path.includes('{'),
    409: method !== 'get',
    410: false,
    413: hasBody,
    415: hasBody,
    421: true,
    422: method !== 'get',
    429: true,
    431: true,
    500: true,
    503: true,
  };
  const all = Object.keys(REFUSALS).map(Number) as Refusal[];
  return all.filter((refusal) => applies[refusal] || refusal in responses);
}

/** Lists the actions of the record: one per domain event, generated from their classes. */
function nameActions(document: OpenAPIObject): void {
  const entry = document.components?.schemas?.ActivityResponse;
  if (!entry || '$ref' in entry || !entry.properties) return;
  const actions = registeredEvents().map(({ action }) => action);
  entry.properties.action = {
    description: 'What happened. Clients add actions of their own under `custom.`.',
    anyOf: [
      { type: 'string', enum: actions.filter((action) => !action.startsWith('custom.')) },
      { type: 'string', pattern: '^custom\\.' },
    ],
    example: 'environment.lease_acquired',
  };
}
