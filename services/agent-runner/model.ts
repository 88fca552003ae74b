import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import type { Bus } from '#shared/bus/bus.ts';
import type { RunDraft } from '#shared/contracts/events.ts';
import type { ChatInput, ChatResponse, ToolOffer } from '#shared/contracts/llm.ts';
import { chat } from '#shared/contracts/llm.ts';
import { budgetNote } from '#shared/domain/context.ts';
import type { Said } from '#shared/domain/conversation.ts';
import { heardIn, note, ordered } from '#shared/domain/conversation.ts';
import { repeatsNoted, repeatsOf } from '#shared/domain/loops.ts';
import type { RunLimits } from '#shared/domain/next-action.ts';
import type { Run } from '#shared/domain/run.ts';
import { Failure, isTransient } from '#shared/errors.ts';
import { clip } from '#shared/text.ts';
import type { Conversation, Turn } from './conversation.ts';
import { createConversation } from './conversation.ts';
import type { Journal } from './journal.ts';
import { judgeMessage, judgePrompt, systemPrompt } from './prompt.ts';

const attemptsMax = 3;
const patienceMsMax = 5_000;
const callMsMax = 900_000;

/** One turn of the loop: asks the model what to do next. Answers the event to record. */
export async function nextStep(
  bus: Bus,
  journal: Journal,
  tools: ToolOffer[],
  limits: RunLimits,
  signal: AbortSignal,
): Promise<RunDraft> {
  const { run, messages } = journal;
  const notes = newNotes(messages, budgetNote(run, limits, journal.now()));
  const turn: Turn = {
    ...common(run),
    system: systemPrompt(run.definition, run.work),
    tools,
    said: [...ordered(messages), ...notes.map(note)],
  };
  const { answer, facts } = await conversationOf(journal).ask(turn, (input) => askModel(bus, journal, input, signal));
  // The model's own ids may repeat; ours are unique in the conversation, so that a result is always the result of one call.
  const turnNumber = 1 + Math.max(run.steps, lastTurnIn(messages));
  const toolCalls = answer.toolCalls.map((call, index) => ({ ...call, callId: `call_${turnNumber}_${index + 1}` }));
  return {
    type: 'toka.run.step-completed.v1',
    data: {
      ...facts,
      calls: toolCalls.map(({ callId, tool }) => ({ callId, tool })),
      answer: { ...answer, toolCalls },
      ...(notes.length > 0 ? { notes } : {}),
      heard: heardIn(messages),
    },
  };
}

/** The last turn that calls in a conversation are named by: a forked run begins with those of another. */
const lastTurnIn = (messages: readonly Said[]): number =>
  Math.max(
    0,
    ...messages
      .flatMap((message) => (message.role === 'assistant' ? message.toolCalls : []))
      .map(({ callId }) => Number(/^call_(\d+)_/.exec(callId)?.[1] ?? 0)),
  );

/** What the proxy has of each run that is executed here. */
const conversations = new WeakMap<Journal, Conversation>();

function conversationOf(journal: Journal): Conversation {
  const conversation = conversations.get(journal) ?? createConversation(journal.run.id);
  conversations.set(journal, conversation);
  return conversation;
}

/** What the model is to be told besides; it stays in the conversation, so that what it was told once is not told again. */
function newNotes(messages: readonly Said[], budget: string | null): string[] {
  const isNew = budget !== null && !messages.some(({ from, text }) => from === 'note' && text === budget);
  return [isNew ? budget : null, circleNote(messages)].filter((text) => text !== null);
}

const circleNote = (messages: readonly Said[]): string | null => {
  const times = repeatsOf(messages);
  return times < repeatsNoted
    ? null
    : `[You have made the same calls ${times} times with the same results. Do something else, or hand in what there is.]`;
};

const Verdict = z.object({ pass: z.boolean(), reasons: z.array(z.string()).max(50).default([]) });
const verdictTool: ToolOffer = {
  name: 'verdict',
  description: 'Gives the verdict on the deliverable.',
  inputSchema: z.toJSONSchema(Verdict, { io: 'input' }),
};

/** Has the deliverable judged against the work's validation. Answers the event to record. */
export async function judge(bus: Bus, journal: Journal, content: string, signal: AbortSignal): Promise<RunDraft> {
  const { run } = journal;
  const name = run.deliverable?.name ?? '';
  const { answer, facts } = await askModel(
    bus,
    journal,
    {
      ...common(run),
      system: judgePrompt,
      messages: [judgeMessage(run.work, name, content)],
      tools: [verdictTool],
      toolChoice: { name: verdictTool.name },
    },
    signal,
  );
  const verdict = Verdict.safeParse(answer.toolCalls.find(({ tool }) => tool === verdictTool.name)?.args);
  if (!verdict.success) throw new Failure('upstream', 'the model gave no verdict that can be read on the deliverable');
  const reasons = verdict.data.reasons.map((reason) => clip(reason, 2_000));
  return { type: 'toka.run.validated.v1', data: { pass: verdict.data.pass, reasons, facts } };
}

/** An objective's calls may be answered from the cache, so that a call whose runner died is not paid twice; others want a fresh look. */
export const common = (run: Run) => ({
  agentId: run.agentId,
  runId: run.id,
  seen: run.version,
  trace: run.trace ?? undefined,
  workstream: run.definition.workstream,
  priority: run.work.priority,
  model: run.definition.model,
  cache: run.trigger === 'objective',
});

/**
 * Asks the proxy, and a few times again after a passing fault that is worth waiting for on the spot. Each time it is looked whether the
 * run is still ours: what another runner has recorded meanwhile is not asked again.
 */
export async function askModel(
  bus: Bus,
  journal: Pick<Journal, 'current'>,
  input: ChatInput,
  signal: AbortSignal,
): Promise<ChatResponse> {
  for (let attempt = 1; ; attempt++) {
    await journal.current();
    try {
      return await bus.ask(chat, input, { timeoutMs: callMsMax, signal });
    } catch (error) {
      const waitMs = Math.max(
        error instanceof Failure ? (error.retryAfterMs ?? 0) : 0,
        250 * 2 ** attempt * (0.5 + Math.random()),
      );
      if (signal.aborted || !isTransient(error) || attempt === attemptsMax || waitMs > patienceMsMax) throw error;
      await delay(waitMs, undefined, { signal }).catch(() => undefined);
    }
  }
}
