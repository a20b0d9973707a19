import { Injectable } from '@nestjs/common';
import { RequestContext } from '@mikro-orm/core';
import { EntityManager } from '@mikro-orm/postgresql';
import { Coalescer } from '../../database/coalescer.js';
import { isConnectionLost } from '../../database/database-errors.js';
import { inTransaction } from '../../database/transaction.js';
import { DomainError } from '../../errors/domain-error.js';
import { currentActor, currentScope } from '../../events/request-scope.js';
import { AgentTurns } from '../runs/agent-turns.js';
import { WakeDecisions, type AskedWake } from './wake-decisions.js';
import type { Wake, WakeAnswer } from './wake.js';

/** Takes wakes. Those that callers ask for at the same time are decided in one transaction. */
@Injectable()
export class WakeService {
  private readonly asked: Coalescer<AskedWake, WakeAnswer>;

  constructor(
    private readonly em: EntityManager,
    private readonly decisions: WakeDecisions,
    turns: AgentTurns,
  ) {
    this.asked = new Coalescer<AskedWake, WakeAnswer>(
      // In a unit of work of each batch's own: its first caller's would keep what it loads, and lend it to the next ones.
      (batch) => RequestContext.create(this.em, () => inTransaction(this.em, () => this.decisions.decide(batch))),
      (error) => !isConnectionLost(error),
      { enter: () => turns.enter() },
    );
  }

  /**
   * Answers a wake that a caller asks for, in a transaction under the locks of its agent and issue; in the caller's own,
   * if there is one.
   * @throws NotFoundError, AgentNotWakeableError, WakeOthersForbiddenError, WakeIssueUnknownError
   */
  async wake(wake: Wake): Promise<WakeAnswer> {
    const asked = { wake, scope: scopeNow(), isOptional: false };
    return this.em.isInTransaction() ? this.decideOne(asked) : this.asked.run(asked);
  }

  /**
   * Answers a wake that an event or a timer gives rise to, in that one's transaction. It never throws for a wake that
   * does not suit: that is skipped with its reason. Agent and issue are locked already, in the order of the house.
   */
  async wakeForEvent(wake: Wake): Promise<WakeAnswer> {
    const answer = await this.decideOne({ wake, scope: scopeNow(), isOptional: true });
    // A transaction can give rise to several wakes, and the next one has to see what became of this one.
    await this.em.flush();
    return answer;
  }

  private async decideOne(asked: AskedWake): Promise<WakeAnswer> {
    const [answer] = await this.decisions.decide([asked]);
    if (answer instanceof DomainError) throw answer;
    return answer;
  }
}

const scopeNow = () => currentScope() ?? { actor: currentActor(), requestId: null };
