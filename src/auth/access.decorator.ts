import { applyDecorators, SetMetadata } from '@nestjs/common';
import { ApiExtension, ApiSecurity } from '@nestjs/swagger';
import { CREDENTIALS } from '../http/openapi-credentials.js';
import { POLICIES, refusalCodes, type Policy } from './policy.js';

/** Metadata key under which a route says its policy. */
export const POLICY = 'berth:policy';

/** Says who may call a route, and documents it. A route that does not say it may be called by nobody. */
export function Access(policy: Policy): MethodDecorator {
  const { who } = POLICIES[policy];
  const credentials = CREDENTIALS.filter((credential) => who === 'members' || credential === 'operatorKey');
  return applyDecorators(
    SetMetadata(POLICY, policy),
    ApiExtension('x-policy', policy),
    ApiExtension('x-refusals', refusalCodes(policy)),
    ...(who === 'everybody' ? [] : credentials.map((credential) => ApiSecurity(credential))),
  );
}
