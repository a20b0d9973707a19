type Answers<T extends readonly unknown[]> = { -readonly [I in keyof T]: Awaited<T[I]> };

/**
 * The answers to statements of one transaction that were sent one after the other, none waiting for the one before.
 *
 * A flush is not one of them: whatever is put into the unit of work meanwhile would be lost.
 * @throws the error of the first that failed: those after it say only that the transaction is over.
 */
export async function answers<T extends readonly unknown[]>(sent: readonly [...T]): Promise<Answers<T>> {
  const settled = await Promise.allSettled(sent);
  return settled.map((one) => {
    if (one.status === 'rejected') throw one.reason;
    return one.value;
  }) as Answers<T>;
}
