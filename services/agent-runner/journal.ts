import type { Bus } from '#shared/bus/bus.ts';
import type { History } from '#shared/bus/history.ts';
import type { Task } from '#shared/bus/tasks.ts';
import { steadyClock } from '#shared/clock.ts';
import type { Draft, Recorded, RunDraft, RunEvent } from '#shared/contracts/events.ts';
import { isRunEvent } from '#shared/contracts/events.ts';
import type { Said, WholeEvent } from '#shared/domain/conversation.ts';
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
/** A lease takes longer to pass to another runner: see TASK_LEASE. */
const unseenMsMax = 250;

/** A run as this runner knows it: folded from the log, and moved on only by what the log has taken. */
export type Journal = {
  readonly run: Run;
  readonly messages: readonly Said[];
  /** Epoch milliseconds by a clock that nobody sets while this runner has the run: for its timeouts. */
  now(): number;
  /**
   * Appends an event and folds it in, and before it whatever people and children have said meanwhile. Throws `conflict` when the
   * run has ended or another runner has it: then it is no longer ours.
   */
  record(draft: RunDraft): Promise<void>;
  /** Folds in what others have appended. Throws as `record` does. */
  refresh(): Promise<void>;
  /**
   * Before anything is asked or done that no append holds back: as `refresh`, unless the log was just seen. A runner that was stopped, or
   * waited, may have lost the run to another meanwhile.
   */
  current(): Promise<void>;
};

/** Folds a run from the log; undefined: there is no such run. */
export async function openJournal(bus: Bus, runId: string, writer: Writer): Promise<Journal | undefined> {
  const at = now();
  return foldJournal(bus, runId, writer, await bus.history('run', runId), at);
}

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
  const at = now();
  const [seq, events] = await Promise.all([
    bus.append(event, sequences.at(-1)).catch((error) => {
      if (error instanceof Failure && error.code === 'conflict') return undefined;
      throw error;
    }),
    bus.readAt(sequences),
  ]);
  if (seq === undefined) return undefined;
  return foldJournal(bus, runId, writer, { events: [...events, { ...event, seq }], last: seq }, at);
}

/** `at`: when the log was like that, or before. */
async function foldJournal(bus: Bus, runId: string, writer: Writer, past: Past, at: Moment) {
  const view = await openView(bus, past, at);
  if (!view.run) return undefined;
  // Side by side, what is new would be folded in twice.
  let reading: Promise<void> | undefined;
  const refresh = () => {
    reading ??= readOn(bus, runId, view).finally(() => {
      reading = undefined;
    });
    return reading;
  };
  const journal: Journal = {
    get run() {
      return view.run as Run;
    },
    get messages() {
      return view.messages;
    },
    now: steadyClock(),
    refresh,
    async current() {
      if (msSince(view.seenAt) > unseenMsMax) await refresh();
    },
    async record(draft) {
      const slim = await slimmed(bus, draft);
      const event = newEvent(slim as Draft, `run/${runId}`, writer, {
        correlationid: runId,
        trace: view.run?.trace,
      }) as RunEvent;
      for (let attempt = 1; ; attempt++) {
        const began = now();
        try {
          const seq = await bus.append(event, view.head);
          view.head = seq;
          view.seenAt = began;
          return fold(view, { ...event, seq, ...(await wholeOf(bus, draft)) } as WholeEvent);
        } catch (error) {
          if (!(error instanceof Failure && error.code === 'conflict') || attempt === attemptsMax) throw error;
          await refresh();
        }
      }
    },
  };
  return journal;
}

type Past = Omit<History, 'lastDecision'>;

/** What this runner has read of a run. `head`, `decided`: the last message on the run's own subject, and the last decision, that it knows. */
type View = {
  run: Run | undefined;
  messages: readonly Said[];
  head: number;
  decided: number;
  seenAt: Moment;
};

async function openView(bus: Bus, { events, last }: Past, seenAt: Moment): Promise<View> {
  const decided = events.findLast(({ decision }) => decision)?.seq ?? 0;
  const view: View = { run: undefined, messages: [], head: last, decided, seenAt };
  await foldAll(bus, view, events);
  return view;
}

function fold(view: View, event: WholeEvent): void {
  view.run = evolve(view.run, event);
  if (!view.run) return; // what was put there before it was queued is no part of it
  view.messages = conversation(view.messages, event);
}

async function foldAll(bus: Bus, view: View, events: readonly Recorded[]): Promise<void> {
  for (const event of events) if (isRunEvent(event)) fold(view, await wholeEvent(bus, event));
}

/** Folds in what others have appended. Throws `conflict` where the run is no longer this runner's. */
async function readOn(bus: Bus, runId: string, view: View): Promise<void> {
  const began = now();
  const part = { from: view.head + 1, decisionsFrom: view.decided + 1 };
  const { events, last, lastDecision } = await bus.history('run', runId, part);
  // Also of what does not count: the next event comes after it.
  view.head = Math.max(view.head, last);
  view.decided = Math.max(view.decided, lastDecision);
  const isLate = (events[0]?.seq ?? Number.POSITIVE_INFINITY) < (view.run?.version ?? 0);
  if (isLate) {
    // A person spoke before what was recorded here last: all is folded anew, in the order of the log.
    Object.assign(view, { run: undefined, messages: [] });
    await foldAll(bus, view, (await bus.history('run', runId)).events);
  } else await foldAll(bus, view, events);
  const isLost = events.some(({ type }) => type === 'toka.run.started.v1' || type === 'toka.run.dispatched.v1');
  if (isLost || !view.run || hasEnded(view.run)) throw new Failure('conflict', "the run is no longer this runner's");
  view.seenAt = began;
}

/** A machine that slept is seen by its clock alone, a process that was stopped by either. */
const now = () => ({ monotonicMs: performance.now(), epochMs: Date.now() });
type Moment = ReturnType<typeof now>;
const msSince = (at: Moment) => Math.max(performance.now() - at.monotonicMs, Math.abs(Date.now() - at.epochMs));

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
