import type { Bus } from '#shared/bus/bus.ts';
import { Instance } from '#shared/contracts/api/system.ts';
import { healthSubject } from '#shared/contracts/subjects.ts';
import { repeat } from '#shared/repeat.ts';

const everyMs = 5_000;
const gatherMs = 400;

/** Asks all instances now and then how their disks are. Answers `ok`, or what the first says whose disk takes nothing more. */
export function watchDisks(stack: AsyncDisposableStack, bus: Bus): () => string {
  let state = 'ok';
  repeat(stack, everyMs, async () => {
    const answers = await bus.askEach(healthSubject, gatherMs);
    const said = answers.flatMap((answer) => {
      const { data } = Instance.safeParse(answer);
      const disk = data?.checks.disk;
      return data && disk !== undefined && disk !== 'ok' ? [`${data.service}: ${disk}`] : [];
    });
    state = said[0] ?? 'ok';
  });
  return () => state;
}
