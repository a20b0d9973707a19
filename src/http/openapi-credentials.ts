import type { DocumentBuilder } from '@nestjs/swagger';

/** The kinds of credential, as the API's description names them. */
export const CREDENTIALS = ['operatorKey', 'agentKey', 'runToken'] as const;

type Credential = (typeof CREDENTIALS)[number];

const DESCRIPTIONS: Record<Credential, string> = {
  operatorKey:
    'A key of an operator, made under `/api/board-api-keys`: for the whole instance or for named companies, full or ' +
    'read-only.',
  agentKey: 'A key of an agent, made under `/api/agents/{id}/keys`.',
  runToken: 'The token of a run, which its process finds as `PAPERCLIP_API_KEY`. It is refused once the run has ended.',
};

/** Describes all of them: each is shown as `Authorization: Bearer <credential>`. */
export function describeCredentials(builder: DocumentBuilder): DocumentBuilder {
  for (const credential of CREDENTIALS) {
    builder.addBearerAuth({ type: 'http', scheme: 'bearer', description: DESCRIPTIONS[credential] }, credential);
  }
  return builder;
}
