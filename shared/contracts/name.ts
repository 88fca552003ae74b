import { z } from 'zod';

/**
 * What people and programs know something by. No control characters and nothing that cannot be seen or turns the direction of writing: two
 * names that look the same are the same, and a name in a log or on a terminal does nothing.
 */
export const name = (max: number) =>
  z
    .string()
    .trim()
    .min(1, 'must not be empty')
    .max(max, `must be at most ${max} characters`)
    .regex(
      /^[^\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]*$/u,
      'must have no control characters, nor ones that cannot be seen',
    );
