import { DomainError } from '../errors/domain-error.js';

/** No credential was shown where one is needed, or one that stands for nobody. */
export class UnauthenticatedError extends DomainError {
  readonly kind = 'unauthenticated';
  readonly code = 'unauthenticated';
}

/** The caller is known, and may not do this in its own company. */
export class ForbiddenError extends DomainError {
  readonly kind = 'forbidden';

  constructor(
    message: string,
    readonly code = 'forbidden',
  ) {
    super(message);
  }
}

/** Only an operator may do this. The first three words are what Paperclip's client recognises. */
export class OperatorOnlyError extends ForbiddenError {
  constructor() {
    super('Board access required: only an operator may do this, not an agent', 'operator_only');
  }
}

/** The key that was shown can only read. */
export class ReadOnlyKeyError extends ForbiddenError {
  constructor() {
    super('This key can only read', 'read_only_key');
  }
}

/** The key that was shown is for named companies, and this is about no single one. */
export class InstanceKeyRequiredError extends ForbiddenError {
  constructor() {
    super(
      'Only an operator of the whole instance may do this: this key is for named companies',
      'instance_key_required',
    );
  }
}

/** `X-Paperclip-Run-Id` names a run that the credential does not belong to. */
export class RunMismatchError extends ForbiddenError {
  constructor() {
    super('X-Paperclip-Run-Id has to name the run that this token was made for', 'run_mismatch');
  }
}
