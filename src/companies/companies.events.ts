import { DomainEvent, RegisterEvent } from '../events/domain-event.js';

abstract class CompanyEvent extends DomainEvent {
  readonly subject: { type: string; id: string };

  constructor(readonly companyId: string) {
    super();
    this.subject = { type: 'company', id: companyId };
  }
}

@RegisterEvent
export class CompanyCreated extends CompanyEvent {
  static override readonly wireName = 'company.created';
  static override readonly action = 'company.created';

  constructor(
    companyId: string,
    private readonly facts: { name: string; issuePrefix: string },
  ) {
    super(companyId);
  }

  override details(): Record<string, unknown> {
    return { ...this.facts };
  }
}

@RegisterEvent
export class CompanyUpdated extends CompanyEvent {
  static override readonly wireName = 'company.updated';
  static override readonly action = 'company.updated';

  constructor(
    companyId: string,
    private readonly fields: string[],
  ) {
    super(companyId);
  }

  override details(): Record<string, unknown> {
    return { fields: this.fields };
  }
}

@RegisterEvent
export class CompanyArchived extends CompanyEvent {
  static override readonly wireName = 'company.archived';
  static override readonly action = 'company.archived';
}
