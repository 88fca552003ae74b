import type { ChatMessage } from '#shared/contracts/llm.ts';

/** What is asked: `deliverable` is null where a plain answer will do, `handedIn` is what there is to judge. */
export type Task = {
  objective: string;
  deliverable: string | null;
  validation: string;
  handedIn: string | null;
  /** Why what was handed in before was refused, the oldest first. */
  refusals: string[];
};

const refused = 'The deliverable was refused:';

/** The task of a conversation, and the messages that belong to it. Only what the user says is a task: what tools say never is. */
export function readTask(messages: readonly ChatMessage[]): { task: Task; messages: readonly ChatMessage[] } {
  const first = messages.find(({ role }) => role === 'user')?.text ?? '';
  const work = parseWork(first);
  if (work) return { task: { ...work, refusals: refusalsIn(messages) }, messages };
  // Without a deliverable it is a talk, in which each question stands for itself.
  const last = messages.findLastIndex(({ role }) => role === 'user');
  const objective = messages[last]?.text ?? '';
  return {
    task: { objective, deliverable: null, validation: '', handedIn: null, refusals: [] },
    messages: messages.slice(last + 1),
  };
}

function parseWork(text: string): Omit<Task, 'refusals'> | undefined {
  if (!text.startsWith('# Objective\n')) return undefined;
  // The first mark counts: what was handed in stands after it, and may hold marks of its own.
  const [asked, handedIn] = splitAt(text, '\n\n# What was handed in\n');
  const [objective, rest] = splitAt(asked.slice('# Objective\n'.length), '\n\n# Deliverable\n');
  if (rest === null) return undefined;
  const [deliverable, validation] = splitAt(rest, '\n\n# Validation\n');
  return { objective, deliverable, validation: validation ?? '', handedIn: handedIn && splitAt(handedIn, '\n\n')[1] };
}

function splitAt(text: string, mark: string): [string, string | null] {
  const at = text.indexOf(mark);
  return at < 0 ? [text, null] : [text.slice(0, at), text.slice(at + mark.length)];
}

const refusalsIn = (messages: readonly ChatMessage[]) =>
  messages.flatMap(({ role, text }) =>
    role === 'user' && text.startsWith(refused) ? [text.slice(refused.length, 10_000)] : [],
  );
