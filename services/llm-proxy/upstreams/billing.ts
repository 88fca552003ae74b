import { z } from 'zod';

/**
 * What the providers say of an account that has no credit or has reached a spend limit. Trying again does not help, and it is nobody's fault who
 * asked. Sources, read 2026-11-30: OpenAI's guide to error codes and its help page on 429 (codes, and the type insufficient_quota over all of
 * them); Anthropic's pages on errors and rate limits (402 billing_error; 429 with the error_code and without Retry-After; 400 for limits that the
 * account's owner has set, told by its words, as is a credit balance that is too low). DeepSeek and OpenRouter answer 402.
 */
const words: ReadonlySet<string> = new Set([
  ...['insufficient_quota', 'credit_balance_exhausted', 'billing_hard_limit_reached', 'billing_not_active'],
  ...['organization_usage_limit_exceeded', 'organization_spend_limit_exceeded', 'project_spend_limit_exceeded'],
  ...['billing_error', 'enforced_spend_limit_reached'],
]);
const texts = /^You have reached your specified (workspace )?API usage limits|^Your credit balance is too low/;

const text = z.string().optional().catch(undefined);
const Said = z.object({
  type: text,
  code: text,
  message: text,
  details: z.object({ error_code: text }).optional().catch(undefined),
});
const Body = z.union([z.object({ error: z.object({ error: Said }) }), z.object({ error: Said })]);

/** Whether an answer of this status says that the account cannot pay. `error` holds its body. */
export function isUnpaid(status: number, error: unknown): boolean {
  if (status === 402) return true;
  if (status !== 400 && status !== 403 && status !== 429) return false;
  const body = Body.safeParse(error).data?.error;
  const said = body && 'error' in body ? body.error : body;
  if (!said) return false;
  const named = [said.code, said.type, said.details?.error_code];
  return (
    named.some((word) => word !== undefined && words.has(word)) || (status === 400 && texts.test(said.message ?? ''))
  );
}
