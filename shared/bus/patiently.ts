import { Failure, messageOf } from '#shared/errors.ts';

const attemptsMax = 20;

/** Repeats what may be repeated while NATS is away for a moment. Throws `unavailable`, which begins with `failure`. */
export async function patiently<T>(failure: string, work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (attempt === attemptsMax)
        throw new Failure('unavailable', `${failure}: ${messageOf(error)}`, { cause: error });
      await new Promise((resolve) => setTimeout(resolve, Math.min(100 * attempt, 1_000)));
    }
  }
}
