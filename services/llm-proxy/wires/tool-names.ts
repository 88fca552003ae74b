import { createHash } from 'node:crypto';
import type { PivotAnswer, PivotEvent, PivotRequest } from './pivot.ts';

const digestChars = 8;

/** The name of a tool as a wire takes it: one that is too long keeps its beginning, and ends with the digest of all of it. */
function shortOf(name: string, charsMax: number): string {
  if (name.length <= charsMax) return name;
  const digest = createHash('sha256').update(name).digest('hex').slice(0, digestChars);
  return `${name.slice(0, charsMax - digestChars - 1)}_${digest}`;
}

/**
 * Anthropic's tools have names of up to 128 characters, OpenAI's of up to 64 (the APIs' own 400s, 2026-11-30), and those of MCP servers
 * are often longer than that: `request` has names that the wire takes, and the other two bring back the client's.
 */
export function shortenNames(request: PivotRequest, charsMax: number) {
  const short = <T extends { name: string }>(named: T): T => ({ ...named, name: shortOf(named.name, charsMax) });
  const given = new Map(request.tools.map(({ name }) => [shortOf(name, charsMax), name]));
  const back = <T extends { type: string }>(part: T): T =>
    'name' in part && typeof part.name === 'string' ? { ...part, name: given.get(part.name) ?? part.name } : part;
  const { toolChoice, tools, messages } = request;
  const shortened: PivotRequest = {
    ...request,
    tools: tools.map(short),
    toolChoice: typeof toolChoice === 'object' ? short(toolChoice) : toolChoice,
    messages: messages.map((message) =>
      message.role === 'assistant'
        ? { ...message, parts: message.parts.map((part) => (part.type === 'toolCall' ? short(part) : part)) }
        : message,
    ),
  };
  return {
    request: shortened,
    eventOf: (event: PivotEvent): PivotEvent => back(event),
    answerOf: (answer: PivotAnswer): PivotAnswer => ({ ...answer, parts: answer.parts.map(back) }),
  };
}
