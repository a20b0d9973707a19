import { SetMetadata } from '@nestjs/common';

/** Metadata key under which a route says that only an operator may call it. */
export const OPERATOR_ONLY = 'berth:operator-only';

/** Refuses agents before the route is entered: for routes that belong to no company. Enforced by `AuthGuard`. */
export const OperatorOnly = () => SetMetadata(OPERATOR_ONLY, true);
