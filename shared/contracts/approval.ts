import { z } from 'zod';
import { prefixed } from './ids.ts';

export const ApprovalId = prefixed('apr');

/** What a run waits for a person to say: a question of the model's, or leave for one call or for a capability. */
export const Approval = z.object({
  id: ApprovalId,
  /** The tool call that waits. */
  callId: z.string(),
  kind: z.enum(['question', 'tool', 'capability']),
  tool: z.string(),
  /** The capability that is asked for; null: it is a question, or about this one call. */
  capability: z.string().nullable(),
  /** For a person. Leave is for exactly what it says: what cannot be shown in full is not asked. */
  question: z.string(),
  /** What the tools that it is about were when it was asked, as one value: leave is for these. */
  print: z.string().optional(),
  /** JSON Schema that an answer must meet; null: any text, or leave alone. */
  schema: z.record(z.string(), z.unknown()).nullable(),
  /** What a question that nobody answers is taken to be answered with; undefined: it has no answer. */
  default: z.unknown().optional(),
  expiresAt: z.iso.datetime(),
});
export type Approval = z.infer<typeof Approval>;

/** `expired` is no leave: a call that needed it is refused. */
export const Decision = z.enum(['approved', 'denied', 'answered', 'expired']);
export type Decision = z.infer<typeof Decision>;

export const Decided = z.object({
  approvalId: ApprovalId,
  decision: Decision,
  /** The answer to a question. */
  answer: z.unknown().optional(),
  reason: z.string().nullable(),
});
export type Decided = z.infer<typeof Decided>;
