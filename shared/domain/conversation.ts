import type { Work } from '#shared/contracts/agent.ts';
import type { Recorded, RunEvent } from '#shared/contracts/events.ts';
import type { Answer, ChatMessage, Image } from '#shared/contracts/llm.ts';

/** A run's events with everything in full: what was kept by reference has been fetched. */
export type WholeEvent = Recorded<RunEvent> & {
  wholeAnswer?: Answer;
  wholeText?: string;
  wholeImage?: Image;
  /** Of the run that a forked one goes on from. */
  before?: readonly Said[];
};

/** A message in its place. `from`: a person's, by the sequence of its event, or a note of ours on how the run stands. */
export type Said = ChatMessage & { from?: { person: number } | 'note' };

export const note = (text: string): Said => ({ role: 'user', text, from: 'note' });

const personsSeq = ({ from }: Said): number => (typeof from === 'object' ? from.person : 0);

/** Which messages of people a prompt has: those up to this sequence. */
export const heardIn = (messages: readonly Said[]): number => Math.max(0, ...messages.map(personsSeq));

const goOn =
  'You have not handed in the deliverable yet. Go on with the work, and call submit_deliverable when it is done.';

/** The first message of a run: what is asked of it. */
export function firstMessage(work: Work): ChatMessage {
  if (work.deliverable === null) return { role: 'user', text: work.description };
  return { role: 'user', text: workText(work) };
}

export const workText = ({ description, deliverable, validation }: Work) =>
  [
    `# Objective\n${description}`,
    `# Deliverable\n${deliverable}`,
    ...(validation === null ? [] : [`# Validation\n${validation}`]),
  ].join('\n\n');

/**
 * The messages of a run: what is asked of it, or what was said before it was forked, then each answer, each tool's result, each refusal, in
 * the log's order. It only grows, but where it is compacted: what a model had before it when it spoke stays what it was, since models bind
 * their thinking to that, and providers keep it in their caches. So notes stay where they were said, and what a person said while a model was
 * at an answer stands behind that answer.
 */
export function conversation(messages: readonly Said[], event: WholeEvent): readonly Said[] {
  switch (event.type) {
    case 'toka.run.queued.v1': {
      if (messages.length > 0) return messages; // the first counts, as for the run
      const { work, forkOf } = event.data;
      const before = event.before ?? [firstMessage(work)];
      if (forkOf?.message === undefined) return before;
      return [...before, { role: 'user', text: forkOf.message, from: { person: event.seq } }];
    }
    case 'toka.run.step-completed.v1': {
      const answer = event.wholeAnswer ?? event.data.answer;
      if (!('text' in answer)) throw new Error(`event ${event.id}: its answer was not fetched`);
      const { text, toolCalls, reasoning } = answer;
      const said: ChatMessage = {
        role: 'assistant',
        text,
        toolCalls,
        ...(reasoning === undefined ? {} : { reasoning }),
      };
      const { notes = [], heard = Number.POSITIVE_INFINITY } = event.data;
      const unheard = messages.filter((message) => personsSeq(message) > heard);
      const before = unheard.length > 0 ? messages.filter((message) => !unheard.includes(message)) : messages;
      const urge: Said[] = toolCalls.length > 0 ? [] : [{ role: 'user', text: urged(answer) }];
      return [...before, ...notes.map(note), said, ...urge, ...unheard];
    }
    case 'toka.run.tool-returned.v1': {
      const { callId, text, isError } = event.data;
      const image = event.wholeImage ? { image: event.wholeImage } : {};
      return [...messages, { role: 'tool', callId, text: event.wholeText ?? text, isError, ...image }];
    }
    case 'toka.run.deliverable-submitted.v1': {
      const { callId, name } = event.data;
      if (callId === null) return messages;
      return [
        ...messages,
        { role: 'tool', callId, text: `Submitted "${name}". It will now be checked.`, isError: false },
      ];
    }
    case 'toka.run.validated.v1': {
      if (event.data.pass) return messages;
      const reasons = event.data.reasons.map((reason) => `- ${reason}`).join('\n');
      return [
        ...messages,
        { role: 'user', text: `The deliverable was refused:\n${reasons}\nMend it and submit it again.` },
      ];
    }
    case 'toka.run.message-received.v1':
      return [...messages, { role: 'user', text: event.data.text, from: { person: event.seq } }];
    case 'toka.run.context-compacted.v1':
      return compacted(messages, event.data);
    default:
      return messages;
  }
}

/** What a model is told that ended its turn without a call. */
function urged({ text, stopReason }: Answer): string {
  if (stopReason === 'length')
    return 'Your answer was cut off: it had reached the limit of one answer. Go on in smaller pieces, and write long texts to a file.';
  if (stopReason === 'refusal')
    return 'You refused. Do the part of the work that you can do, or hand in a deliverable that says plainly what you will not do and why.';
  return text.trim() === '' ? `Your answer was empty. ${goOn}` : goOn;
}

const shortChars = 400;

function compacted(
  messages: readonly Said[],
  { keptSteps, summary }: Extract<WholeEvent, { type: 'toka.run.context-compacted.v1' }>['data'],
): readonly Said[] {
  const from = startOfLast(messages, keptSteps);
  if (summary === null)
    return messages.map((message, index) =>
      index >= from || message.role !== 'tool' || message.text.length <= shortChars
        ? message
        : {
            role: 'tool',
            callId: message.callId,
            isError: message.isError,
            text: `[${message.text.length} characters were left out to save room; call the tool again to see them]`,
          },
    );
  const [first] = messages;
  const said: ChatMessage = { role: 'user', text: `What was done so far, summed up to save room:\n${summary}` };
  return first ? [first, said, ...messages.slice(Math.max(1, from))] : messages;
}

/** Where the last so many turns of the model begin. */
export function startOfLast(messages: readonly ChatMessage[], steps: number): number {
  let left = steps;
  for (let index = messages.length - 1; index >= 0; index--) {
    if (messages[index]?.role === 'assistant') left -= 1;
    if (left === 0) return index;
  }
  return steps === 0 ? messages.length : 0;
}

/** The messages as providers want them: the results of a turn's calls right behind it, whatever was said in between after them. */
export function ordered(messages: readonly Said[]): Said[] {
  const result: Said[] = [];
  const later: Said[] = [];
  let open = new Set<string>();
  for (const message of messages) {
    if (message.role === 'tool') {
      open.delete(message.callId);
      result.push(message);
    } else if (open.size > 0 && message.role === 'user') later.push(message);
    else result.push(message);
    if (message.role === 'assistant') open = new Set(message.toolCalls.map(({ callId }) => callId));
    if (open.size === 0) result.push(...later.splice(0));
  }
  return [...result, ...later];
}
