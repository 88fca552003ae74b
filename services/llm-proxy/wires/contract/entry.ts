import { z } from 'zod';
import { Answer, Usage } from '#shared/contracts/llm.ts';

const entryType = 'toka/answer';
const Entry = z.object({ answer: Answer, usage: Usage, model: z.string(), provider: z.string() });

/** An answer of the contract as the cache keeps it: with what it took when it was made, and by whom. */
export type Entry = z.infer<typeof Entry>;

export const encodeEntry = (entry: unknown): { body: Buffer; type: string } => ({
  body: Buffer.from(JSON.stringify(entry)),
  type: entryType,
});

/** Undefined: it is none. What Redis holds may be anyone's. */
export function decodeEntry({ body, type }: { body: Buffer; type: string }): Entry | undefined {
  if (type !== entryType) return undefined;
  try {
    return Entry.parse(JSON.parse(body.toString()));
  } catch {
    return undefined;
  }
}
