import type { ChatMessage, ChatRequest } from '#shared/contracts/llm.ts';

/** No model of Anthropic's keeps a shorter prefix: a mark on it does nothing. In tokens. */
const tokensMin = 1_024;
const charsPerToken = 4;

/** After what Anthropic is to keep the prompt for the next call: `after` holds places of messages. At most four in all. */
export type Breakpoints = { tools: boolean; system: boolean; after: ReadonlySet<number> };

/**
 * Marks what later calls begin with as well: the tools and the system prompt, which other runs of the agent share, and the
 * conversation, if it goes on: its last message, and the one that was the last in the call before, where that call wrote its prefix.
 * Writing costs a quarter more than plain input and reading a tenth of it, so what is asked once is not marked.
 */
export function breakpointsOf({ system, messages, tools, context }: ChatRequest): Breakpoints {
  const settled = context?.keep ?? messages.length;
  const toolChars = tools.length > 0 ? JSON.stringify(tools).length : 0;
  const headChars = toolChars + system.length;
  const lastSaid = messages.findLastIndex(({ role }, index) => role === 'assistant' && index < settled);
  const goesOn = context !== undefined || lastSaid >= 0;
  const after = new Set<number>();
  for (const end of goesOn ? [lastSaid, settled] : []) {
    if (end > 0 && reaches(messages.slice(0, end), headChars)) after.add(end - 1);
  }
  return {
    tools: tools.length > 0 && toolChars >= tokensMin * charsPerToken,
    system: system !== '' && headChars >= tokensMin * charsPerToken,
    after,
  };
}

/** By estimate; pictures are left out of it. */
function reaches(messages: readonly ChatMessage[], before: number): boolean {
  let chars = before;
  for (const message of messages) {
    if (chars >= tokensMin * charsPerToken) return true;
    chars += message.text.length;
    if (message.role === 'assistant') chars += JSON.stringify(message.toolCalls).length;
  }
  return chars >= tokensMin * charsPerToken;
}
