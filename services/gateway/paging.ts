import { z } from 'zod';

const seq = z.coerce.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);

/** What every list takes. `minSeq`: the Toka-Seq of a write that the answer must hold. */
export const pageQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(500).default(100),
  cursor: z.string().min(1).max(200).optional(),
  minSeq: seq.optional(),
});

export const seqQuery = z.strictObject({ minSeq: seq.optional() });

export const pageOf = <T extends z.ZodType>(item: T) =>
  z.object({ items: z.array(item), nextCursor: z.string().nullable() });
