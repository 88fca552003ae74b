import { z } from 'zod';

// What the host and its child say to each other: one line of JSON each way for a call, after the child's first line.

export const deliverableBytesMax = 10 * 1024 ** 2;
export const textCharsMax = 200_000;
/** A deliverable in base64, and the rest. */
export const lineBytesMax = 16 * 1024 ** 2;

export const ready = '{"ready":true}';

export const Question = z.object({ tool: z.string(), args: z.unknown() });
export type Question = z.infer<typeof Question>;

export const Answered = z.object({
  isError: z.boolean(),
  text: z.string(),
  deliverable: z
    .object({
      base64: z.string().max(Math.ceil(deliverableBytesMax / 3) * 4),
      mediaType: z.string().regex(/^[a-z]+\/[a-z0-9.+-]{1,60}$/),
      summary: z.string().min(1).max(2000),
      path: z.string().max(4096).optional(),
    })
    .optional(),
});
export type Answered = z.infer<typeof Answered>;
