import type { Bus } from '#shared/bus/bus.ts';
import type { History } from '#shared/bus/log.ts';
import type { Task } from '#shared/bus/tasks.ts';
import type { Draft, Recorded, RunDraft, RunEvent } from '#shared/contracts/events.ts';
import { isRunEvent } from '#shared/contracts/events.ts';
import type { ChatMessage } from '#shared/contracts/llm.ts';
import type { WholeEvent } from '#shared/domain/conversation.ts';
import { conversation } from '#shared/domain/conversation.ts';
import type { Run } from '#shared/domain/run.ts';
import { evolve, hasEnded } from '#shared/domain/run.ts';
import { Failure } from '#shared/errors.ts';
import type { Writer } from '#shared/event.ts';
import { newEvent } from '#shared/event.ts';
import { clip } from '#shared/text.ts';
import { fetchImage, wholeEvent } from '#shared/whole-event.ts';

const inlineBytesMax = 32 * 1024;
const shownCharsMax = 4_000;
const attemptsMax = 20;

/** A run as this runner knows it: folded from the log, and moved on only by what the log has taken. */
export type Journal = {
  readonly run: Run;
  readonly messages: readonly ChatMessage[];
  /**
   * Appends an event and folds it in, and before it whatever people and children have said meanwhile. Throws `conflict` when the
   * run has ended or another runner has it: then it is no longer ours.
   */
  record(draft: RunDraft): Promise<void>;
  /** Folds in what others have appended. Throws as `record` does. */
  refresh(): Promise<void>;
};

/** Folds a run from the log; undefined: there is no such run. */
export const openJournal = async (bus: Bus, runId: string, writer: Writer): Promise<Journal | undefined> =>
  foldJournal(bus, runId, writer, await bus.history('run', runId));

/**
 * As `openJournal`, for a run that has just the events of these sequences: `start` becomes the next one while they are still read.
 * Undefined where another event was first: then nothing was appended.
 */
export async function claimJournal(
  bus: Bus,
  runId: string,
  writer: Writer,
  start: RunDraft,
  { events: sequences = [], trace }: Pick<Task, 'events' | 'trace'>,
): Promise<Journal | undefined> {
  const event = newEvent(start as Draft, `run/${runId}`, writer, { correlationid: runId, trace });
  const [seq, events] = await Promise.all([
    bus.append(event, sequences.at(-1)).catch((error) => {
      if (error instanceof Failure && error.code === 'conflict') return undefined;
      throw error;
    }),
    bus.readAt(sequences),
  ]);
  if (seq === undefined) return undefined;
  return foldJournal(bus, runId, writer, { events: [...events, { ...event, seq }], last: seq });
}

async function foldJournal(bus: Bus, runId: string, writer: Writer, past: Omit<History, 'lastDecision'>) {
  let run: Run | undefined;
  let messages: readonly ChatMessage[] = [];
  /** Of the last message on the run's own subject, and of the last decision, that were read here. */
  let head = past.last;
  let decided = past.events.findLast(({ decision }) => decision)?.seq ?? 0;
  const fold = (event: WholeEvent) => {
    run = evolve(run, event);
    messages = conversation(messages, event);
  };
  const foldAll = async (events: readonly Recorded[]) => {
    for (const event of events) if (isRunEvent(event)) fold(await wholeEvent(bus, event));
  };
  await foldAll(past.events);
  if (!run) return undefined;

  const refresh = async () => {
    const { events, last, lastDecision } = await bus.history('run', runId, { from: head + 1, decisionsFrom: decided + 1 });
    // Also of what does not count: the next event comes after it.
    head = Math.max(head, last);
    decided = Math.max(decided, lastDecision);
    const isLate = (events[0]?.seq ?? Number.POSITIVE_INFINITY) < (run?.version ?? 0);
    if (isLate) {
      // A person spoke before what was recorded here last: all is folded anew, in the order of the log.
      run = undefined;
      messages = [];
      await foldAll((await bus.history('run', runId)).events);
    } else await foldAll(events);
    const isLost = events.some(({ type }) => type === 'toka.run.started.v1' || type === 'toka.run.dispatched.v1');
    if (isLost || !run || hasEnded(run)) throw new Failure('conflict', "the run is no longer this runner's");
  };

  const journal: Journal = {
    get run() {
      return run as Run;
    },
    get messages() {
      return messages;
    },
    refresh,
    async record(draft) {
      const slim = await slimmed(bus, draft);
      const event = newEvent(slim as Draft, `run/${runId}`, writer, {
        correlationid: runId,
        trace: run?.trace,
      }) as RunEvent;
      for (let attempt = 1; ; attempt++) {
        try {
          const seq = await bus.append(event, head);
          head = seq;
          return fold({ ...event, seq, ...(await wholeOf(bus, draft)) } as WholeEvent);
        } catch (error) {
          if (!(error instanceof Failure && error.code === 'conflict') || attempt === attemptsMax) throw error;
          await refresh();
        }
      }
    },
  };
  return journal;
}

async function wholeOf(bus: Bus, draft: RunDraft): Promise<Partial<WholeEvent>> {
  if (draft.type === 'toka.run.step-completed.v1' && 'text' in draft.data.answer)
    return { wholeAnswer: draft.data.answer };
  if (draft.type !== 'toka.run.tool-returned.v1') return {};
  const { text, image } = draft.data;
  return { wholeText: text, ...(image ? { wholeImage: await fetchImage(bus, image) } : {}) };
}

/** What is long is kept in the object store, and the event holds the reference. */
async function slimmed(bus: Bus, draft: RunDraft): Promise<RunDraft> {
  if (draft.type === 'toka.run.tool-returned.v1') {
    const bytes = Buffer.from(draft.data.text);
    if (bytes.byteLength <= inlineBytesMax) return draft;
    const text = clip(draft.data.text, shownCharsMax);
    return { ...draft, data: { ...draft.data, text, whole: await bus.artifacts.put(bytes) } };
  }
  if (draft.type !== 'toka.run.step-completed.v1') return draft;
  const bytes = Buffer.from(JSON.stringify(draft.data.answer));
  if (bytes.byteLength <= inlineBytesMax) return draft;
  return { ...draft, data: { ...draft.data, answer: { artifact: await bus.artifacts.put(bytes) } } };
}
