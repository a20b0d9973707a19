/** Why this process cannot start, as a sentence that says what to do about it. It is shown without a stack. */
export class StartupError extends Error {
  override readonly name = 'StartupError';
}
