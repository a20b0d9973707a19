import { getMetadataStorage } from 'class-validator';
import 'reflect-metadata';

/**
 * What Paperclip's published clients and agents send and Berth has no use for, by the thing that it describes. This is
 * the only list: every other unknown field is refused. A field that Berth learns to use is declared in its DTO, which
 * takes precedence, and then leaves the list.
 */
const IGNORED_FIELDS = {
  company: [
    'budgetMonthlyCents',
    'spentMonthlyCents',
    'defaultResponsibleUserId',
    'requireBoardApprovalForNewAgents',
    'interactionResolverGovernance',
    'feedbackDataSharingEnabled',
    'feedbackDataSharingConsentAt',
    'feedbackDataSharingConsentByUserId',
    'feedbackDataSharingTermsVersion',
    'logoAssetId',
  ],
  agent: [
    'icon',
    'reportsTo',
    'capabilities',
    'desiredSkills',
    'instructionsBundle',
    'permissions',
    'budgetMonthlyCents',
    'spentMonthlyCents',
    'storedSessionId',
    'applyStoredClaudeLogin',
    'onboardingFirstAgent',
  ],
  agentKey: ['scope'],
  // Where it was asked for from; to confine a key, name its companies.
  operatorKey: ['requestedCompanyId'],
  secret: ['key', 'providerConfigId', 'providerMetadata', 'providerVersionRef'],
  wake: ['failedRunId', 'debug', 'idempotencyKey'],
  issue: [
    'projectId',
    'projectWorkspaceId',
    'goalId',
    'parentId',
    'billingCode',
    'workMode',
    'requestDepth',
    'allowDuplicate',
    'hiddenAt',
    'blockedByIssueIds',
    'unblockDescriptor',
    'inheritExecutionWorkspaceFromIssueId',
    'harnessKind',
    'reviewPolicy',
    'reviewRequest',
    'reviewInteractionId',
    'assigneeUserId',
    'createdByUserId',
    'responsibleUserId',
    'onBehalfOfUserId',
    'assigneeAdapterOverrides',
    'executionPolicy',
    'executionWorkspacePreference',
    'executionWorkspaceSettings',
    'labelIds',
    'watchdogDiscovery',
    'watchdog',
    'initialPlan',
    'onboardingFirstTask',
    'commentClientRequestId',
    'attachmentIds',
    'reopen',
    'resume',
    'interrupt',
    'deferWakeForGoal',
    'idempotencyKey',
  ],
  issueQuery: ['projectId'],
  comment: [
    'reopen',
    'resume',
    'interrupt',
    'attachmentIds',
    'clientRequestId',
    'onBehalfOfUserId',
    'authorType',
    'presentation',
    'metadata',
    'idempotencyKey',
  ],
  // Who acts is what the credential says, never what the body says.
  activity: ['actorType', 'actorId'],
} as const;

const METADATA_KEY = 'berth:ignored-fields';

/** Lets a DTO accept, and drop before it is validated, what clients are known to send of this thing for nothing. */
export const IgnoresClientFields =
  (thing: keyof typeof IGNORED_FIELDS): ClassDecorator =>
  (dto) =>
    Reflect.defineMetadata(METADATA_KEY, thing, dto);

/** The input without the fields that its DTO ignores; the input itself if there are none. */
export function withoutIgnoredFields(input: unknown, dto: abstract new (...args: never[]) => unknown): unknown {
  const thing = Reflect.getMetadata(METADATA_KEY, dto) as keyof typeof IGNORED_FIELDS | undefined;
  if (thing === undefined || typeof input !== 'object' || input === null) return input;
  const declared = new Set(
    getMetadataStorage()
      .getTargetValidationMetadatas(dto, '', false, false)
      .map(({ propertyName }) => propertyName),
  );
  const ignored = new Set<string>(IGNORED_FIELDS[thing].filter((field) => !declared.has(field)));
  return Object.fromEntries(Object.entries(input).filter(([field]) => !ignored.has(field)));
}
