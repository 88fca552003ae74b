import { hash } from 'node:crypto';
import { z } from 'zod';

// What the real providers document that they refuse. A fake provider of the tests refuses it too.

const Block = z.looseObject({ type: z.string() });
type Block = z.infer<typeof Block>;

const BoundBody = z.looseObject({
  model: z.string(),
  system: z.union([z.string(), z.array(Block)]).default(''),
  tools: z.array(z.looseObject({})).default([]),
  messages: z.array(z.looseObject({ role: z.string(), content: z.union([z.string(), z.array(Block)]) })),
});

const Signature = z.object({ model: z.string(), prompt: z.string(), before: z.string() });

const isThinking = ({ type }: Block) => type === 'thinking' || type === 'redacted_thinking';
const blocksOf = (content: string | Block[]): Block[] =>
  typeof content === 'string' ? [{ type: 'text', text: content }] : content;
const unmarked = ({ cache_control: _, ...block }: Record<string, unknown>) => JSON.stringify(block);
const digest = (parts: readonly string[]) => hash('sha256', parts.join('\n'), 'hex').slice(0, 16);

type Checked = {
  /** Words of the 400, where it is refused. */
  refusal?: string;
  /** Thinking blocks that the model sees, and those that it cannot read, which are dropped without an error. */
  seen: number;
  dropped: number;
  /** What an answer's thinking is signed with. */
  signature: string;
};

/**
 * The check of thinking that goes back to Anthropic: a block is bound to its model, to `system`, `tools` and every message before it, without
 * marks and thinking, and to the thinking block before it, which may be missing only if there is none before it at all (platform.claude.com:
 * Preserved thinking; Prefix checks on thinking blocks; 2026-11-30).
 */
export function checkThinking(body: unknown): Checked {
  const { model, system, tools, messages } = BoundBody.parse(body);
  const parts = [...blocksOf(system).map(unmarked), ...tools.map(unmarked)];
  let [seen, dropped, before] = [0, 0, ''];
  let refusal: string | undefined;
  for (const [index, { role, content }] of messages.entries()) {
    for (const [place, block] of blocksOf(content).entries()) {
      if (!isThinking(block)) {
        parts.push(`${role} ${unmarked(block)}`);
        continue;
      }
      const signed = String(block.signature ?? block.data ?? '');
      const signature = signatureIn(signed);
      const invalid = `messages.${index}.content.${place}: Invalid \`signature\` in \`${block.type}\` block.`;
      if (!signature) refusal ??= invalid;
      else if (signature.model !== model) dropped += 1;
      else {
        const isBound = signature.prompt === digest(parts) && (before === '' || signature.before === digest([before]));
        if (!isBound)
          refusal ??= `${invalid} The block is bound to a different conversation. Remove the block, or set \`thinking.block_binding.prefix_mismatch_behavior\` to "drop_block".`;
        before = signed;
        seen += 1;
      }
    }
  }
  const made = { model, prompt: digest(parts), before: before === '' ? '' : digest([before]) };
  const signature = Buffer.from(JSON.stringify(made)).toString('base64');
  return { ...(refusal === undefined ? {} : { refusal }), seen, dropped, signature };
}

function signatureIn(text: string): z.infer<typeof Signature> | undefined {
  try {
    return Signature.safeParse(JSON.parse(Buffer.from(text, 'base64').toString())).data;
  } catch {
    return undefined;
  }
}
