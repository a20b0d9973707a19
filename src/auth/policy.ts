import type { Caller } from '../events/actor.js';
import { InstanceKeyRequiredError, OperatorOnlyError, ReadOnlyKeyError, type ForbiddenError } from './auth-errors.js';

/** Whom a route is for, and whether it changes anything. */
interface Audience {
  /**
   * - `everybody`: also who shows no credential.
   * - `members`: operators, and the agents of the company that it is about.
   * - `operators`: operators of that company.
   * - `instance`: operators of the whole instance, because it is about no single company.
   */
  readonly who: 'everybody' | 'members' | 'operators' | 'instance';
  readonly writes: boolean;
}

/** Everything that a route can say about who may call it: each says one. What else an agent may not is in the services. */
export const POLICIES = {
  public: { who: 'everybody', writes: false },
  'members:read': { who: 'members', writes: false },
  'members:write': { who: 'members', writes: true },
  'operators:read': { who: 'operators', writes: false },
  'operators:write': { who: 'operators', writes: true },
  'instance:read': { who: 'instance', writes: false },
  'instance:write': { who: 'instance', writes: true },
} as const satisfies Record<string, Audience>;

export type Policy = keyof typeof POLICIES;

/**
 * What keeps a caller from calling a route. Whether it may see the very thing that the path names is another question.
 * @returns null when nothing does.
 */
export function refusalOf(policy: Policy, caller: Caller): ForbiddenError | null {
  const { who, writes }: Audience = POLICIES[policy];
  if (who === 'everybody') return null;
  if (caller.type === 'agent') return who === 'members' ? null : new OperatorOnlyError();
  if (who === 'instance' && caller.key?.companyIds) return new InstanceKeyRequiredError();
  return writes && caller.key?.readOnly ? new ReadOnlyKeyError() : null;
}

/** The codes of the refusals that a policy can end in, for whoever reads the API's description. */
export function refusalCodes(policy: Policy): string[] {
  const { who, writes }: Audience = POLICIES[policy];
  const codes = {
    operator_only: who === 'operators' || who === 'instance',
    instance_key_required: who === 'instance',
    read_only_key: writes,
  };
  return Object.entries(codes).flatMap(([code, applies]) => (applies ? [code] : []));
}
