import { z } from 'zod';
import { Sequence, wholeNumber } from './input.ts';

/** What every list takes. `minSeq`: the Toka-Seq of a write that the answer must hold. */
export const pageQuery = z.strictObject({
  limit: wholeNumber(1, 500).default(100).describe('100 unless it is given'),
  cursor: z.string().min(1).max(200).optional(),
  minSeq: Sequence.optional(),
});

/** A list in the order of what happened: its cursors are numbers. */
export const historyQuery = pageQuery.extend({
  cursor: z
    .string()
    .regex(/^\d{1,15}$/, 'must be a nextCursor that an earlier page gave')
    .optional(),
});

export const seqQuery = z.strictObject({ minSeq: Sequence.optional() });

export const pageOf = <T extends z.ZodType>(item: T) =>
  z.object({ items: z.array(item), nextCursor: z.string().nullable() });
