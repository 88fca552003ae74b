import { z } from 'zod';
import { endpoint } from './endpoint.ts';

export const revokeToken = endpoint({
  method: 'post',
  path: '/tokens/revoke',
  scope: 'admin',
  summary: 'Revoke one token by its id: from then on it counts nowhere, and streams that it opened end',
  body: z.strictObject({
    jti: z.string().min(1, 'must not be empty').max(200, 'must be at most 200 characters').describe('Its claim `jti`'),
    iss: z
      .string()
      .min(1, 'must not be empty')
      .max(1_000, 'must be at most 1000 characters')
      .optional()
      .describe('Its claim `iss`, where it has one'),
    reason: z
      .string()
      .min(1, 'must not be empty')
      .max(500, 'must be at most 500 characters')
      .optional()
      .describe('Why, for the log'),
  }),
  status: 204,
  answer: null,
});
