import type { z } from 'zod';

/** A question that one service answers: its subject, and the schemas that both sides parse with. */
export type Request<I extends z.ZodType, O extends z.ZodType> = { subject: string; input: I; output: O };

export const request = <I extends z.ZodType, O extends z.ZodType>(
  subject: string,
  input: I,
  output: O,
): Request<I, O> => ({
  subject,
  input,
  output,
});

/** What is told to whoever listens: its subject, and the schema that both sides parse with. */
export type Topic<T extends z.ZodType> = { subject: string; schema: T };

export const topic = <T extends z.ZodType>(subject: string, schema: T): Topic<T> => ({ subject, schema });
