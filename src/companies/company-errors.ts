import { DomainError } from '../errors/domain-error.js';

/** Two companies' issues must not be called the same. */
export class IssuePrefixTakenError extends DomainError {
  readonly kind = 'conflict';
  readonly code = 'issue_prefix_taken';

  constructor(issuePrefix: string) {
    super(`Another company already uses the issue prefix ${issuePrefix}; choose another, or leave it out`, {
      issuePrefix,
    });
  }
}

/** Nothing new starts in an archived company. */
export class CompanyArchivedError extends DomainError {
  readonly kind = 'conflict';
  readonly code = 'company_archived';

  constructor(companyId: string) {
    super('This company is archived: nothing new can be made in it', { companyId });
  }
}

/** A reference to an environment that the company does not have, or that takes no work any more. */
export class UnusableEnvironmentError extends DomainError {
  readonly kind = 'unacceptable';
  readonly code: 'environment_not_found' | 'environment_archived';

  private constructor(code: UnusableEnvironmentError['code'], sentence: string, environmentId: string) {
    super(sentence, { environmentId });
    this.code = code;
  }

  static missing(id: string): UnusableEnvironmentError {
    return new UnusableEnvironmentError('environment_not_found', 'This company has no such environment', id);
  }

  static archived(id: string): UnusableEnvironmentError {
    const sentence = 'This environment is archived: activate it, or choose another';
    return new UnusableEnvironmentError('environment_archived', sentence, id);
  }
}

/** The company has as many as it may have. */
export class QuotaReachedError extends DomainError {
  readonly kind = 'unacceptable';
  readonly code: 'agents_quota_reached' | 'environments_quota_reached';

  constructor(what: 'agents' | 'environments', limit: number) {
    super(`This company has the ${limit} ${what} that it may have: delete one, or have an operator raise its limit`, {
      limit,
    });
    this.code = `${what}_quota_reached`;
  }
}
