import type { z } from 'zod';
import { isSigned } from '#shared/checkpoint.ts';
import { Checkpoint, verifyArchive } from '#shared/contracts/store.ts';
import { adminToken } from './admin-token.ts';
import type { Violation } from './checks/evidence.ts';

const check = 'checkpoints hold';
const askMsMax = 60_000;

/** Checkpoints that are signed while all goes on, as a person would keep them elsewhere. */
export type Anchors = {
  /** Asks for one. Never throws: whoever is away signs nothing. */
  take(): Promise<void>;
  /** Whether the archive still comes to what each of them says, as `toka audit verify --anchor` asks. */
  verify(): Promise<Violation[]>;
};

export async function openAnchors(apis: readonly string[]): Promise<Anchors> {
  const headers = { authorization: `Bearer ${await adminToken()}` };
  const kept: Checkpoint[] = [];
  let turn = 0;
  const ask = async <T>(path: string, schema: z.ZodType<T>): Promise<T> => {
    turn += 1;
    const answer = await fetch(`${apis[turn % apis.length]}${path}`, {
      headers,
      signal: AbortSignal.timeout(askMsMax),
    });
    if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
    return schema.parse(await answer.json());
  };
  const look = async ({ seq, chainHead }: Checkpoint): Promise<Violation[]> => {
    const { intact, anchor } = await ask(
      `/audit/verify?anchorSeq=${seq}&anchorHead=${chainHead}`,
      verifyArchive.output,
    );
    return intact && anchor?.holds === true
      ? []
      : [{ check, text: `event ${seq}, ${chainHead}: ${anchor?.holds}, intact: ${intact}` }];
  };
  return {
    async take() {
      const checkpoint = await ask('/audit/checkpoint', Checkpoint).catch(() => undefined);
      if (checkpoint && checkpoint.seq > (kept.at(-1)?.seq ?? 0)) kept.push(checkpoint);
    },
    async verify() {
      const [first, last] = [kept[0], kept.at(-1)];
      if (!first || !last) return [{ check, text: 'none was signed' }];
      const unsigned = kept
        .filter((each) => !isSigned(each))
        .map(({ seq }) => ({ check, text: `${seq} is not signed` }));
      const middle = kept[Math.floor(kept.length / 2)] ?? first;
      const found: Violation[] = [];
      for (const each of new Set([first, middle, last]))
        found.push(...(await look(each).catch((error) => [{ check, text: `event ${each.seq}: ${error}` }])));
      return [...unsigned, ...found];
    },
  };
}
