import { ForbiddenError } from '../../auth/auth-errors.js';

/** What an agent's run was told, wrote and left is that agent's, and the operators'. */
export class OtherAgentsRunError extends ForbiddenError {
  constructor() {
    super('An agent can look into its own runs only', 'other_agents_run');
  }
}
