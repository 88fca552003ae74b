import { z } from 'zod';
import type { ChatMessage } from '#shared/contracts/llm.ts';
import { ChatMessage as Message, ToolOffer } from '#shared/contracts/llm.ts';
import { roll, writeHead, writeMessage } from '#shared/rolling.ts';

const Head = z.object({ system: z.string(), tools: z.array(ToolOffer) });
type Head = z.infer<typeof Head>;

/** A conversation up to some message: its digest, and its size in bytes as it is written. */
type Mark = { digest: string; bytes: number };

/** A conversation as the proxy keeps it. `marks[i]` is of its head and its first `i` messages. */
export type Conversation = { head: Head; messages: readonly ChatMessage[]; marks: readonly Mark[] };

const next = ({ digest, bytes }: Mark, part: string): Mark => ({
  digest: roll(digest, part),
  bytes: bytes + Buffer.byteLength(part),
});

/** One with a head and no message yet. */
export function begin({ system, tools }: Head): Conversation {
  return { head: { system, tools }, messages: [], marks: [next({ digest: '', bytes: 0 }, writeHead(system, tools))] };
}

/** With so many messages, if it is then what the digest says. */
export function upTo(conversation: Conversation, count: number, digest: string): Conversation | undefined {
  const { head, messages, marks } = conversation;
  if (marks[count]?.digest !== digest) return undefined;
  return { head, messages: messages.slice(0, count), marks: marks.slice(0, count + 1) };
}

export const bytesOf = ({ marks }: Conversation): number => marks.at(-1)?.bytes ?? 0;

/** With more messages; `parts` are those as they are written. */
export function extend(
  { head, messages, marks }: Conversation,
  more: readonly ChatMessage[],
): { conversation: Conversation; parts: string[] } {
  const parts = more.map(writeMessage);
  return { conversation: { head, messages: [...messages, ...more], marks: marked(marks, parts) }, parts };
}

function marked(marks: readonly Mark[], parts: readonly string[]): Mark[] {
  const all = [...marks];
  let last = all.at(-1) ?? { digest: '', bytes: 0 };
  for (const part of parts) {
    last = next(last, part);
    all.push(last);
  }
  return all;
}

/** All its parts as they are written. */
export const partsOf = ({ head, messages }: Conversation): string[] => [
  writeHead(head.system, head.tools),
  ...messages.map(writeMessage),
];

/** Reads parts, which may be anyone's; undefined unless they are the conversation that the digest says. */
export function parse(parts: readonly string[], digest: string): Conversation | undefined {
  const marks = marked([], parts);
  if (marks.at(-1)?.digest !== digest) return undefined;
  const [head, ...messages] = parts.map((part): unknown => JSON.parse(part));
  return { head: Head.parse(head), messages: z.array(Message).parse(messages), marks };
}
