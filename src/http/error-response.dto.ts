/** Why a request was not carried out. */
export class ErrorResponse {
  /**
   * A sentence that a person understands.
   * @example 'Agent not found'
   */
  error: string;
  /**
   * Names the condition; stable, for programs.
   * @example 'not_found'
   */
  code: string;
  /** Further facts: one `{ field, message }` per field of an invalid input, what holds a thing in a conflict. */
  details?: unknown;
}
