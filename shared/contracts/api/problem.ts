import { z } from 'zod';

/** What every error is answered with (RFC 9457). */
export const ProblemDetails = z.object({
  type: z.string(),
  title: z.string(),
  status: z.number().int(),
  detail: z.string().describe('What is wrong, for people'),
  code: z.string().describe('What is wrong, for programs'),
  errors: z
    .array(z.object({ field: z.string(), message: z.string() }))
    .optional()
    .describe('Every field that is wrong'),
});
