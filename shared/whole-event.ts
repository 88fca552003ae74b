import type { Bus } from '#shared/bus/bus.ts';
import type { ArtifactRef } from '#shared/contracts/artifact.ts';
import { hashesIn } from '#shared/contracts/artifact.ts';
import type { DataOf, Fork, Recorded, RunEvent } from '#shared/contracts/events.ts';
import { isRunEvent } from '#shared/contracts/events.ts';
import { Answer, Image } from '#shared/contracts/llm.ts';
import type { Said, WholeEvent } from '#shared/domain/conversation.ts';
import { conversation } from '#shared/domain/conversation.ts';
import { Failure } from '#shared/errors.ts';

type Source = Pick<Bus, 'read'> & { artifacts: Pick<Bus['artifacts'], 'get'> };

const restGone = '[The rest of this result is no longer kept.]';
const imageGone = '[The picture that came with it is no longer kept.]';

type KeptImage = NonNullable<DataOf<'toka.run.tool-returned.v1'>['image']>;

export const fetchImage = async (bus: Source, { mediaType, artifact }: KeptImage): Promise<Image> =>
  Image.parse({ mediaType, base64: (await bus.artifacts.get(artifact)).toString('base64') });

/**
 * An event with what it names fetched: long texts, pictures, and for a forked run what was said before. Of a tool's result that is no longer
 * kept its beginning is left, and a word that says so; without the model's answer there is nothing: throws `gone`.
 */
export async function wholeEvent(bus: Source, event: Recorded<RunEvent>): Promise<WholeEvent> {
  if (event.type === 'toka.run.tool-returned.v1') {
    const { text, whole: long, image } = event.data;
    if (!long && !image) return event;
    const whole = long ? await unlessGone(bus.artifacts.get(long)) : undefined;
    const wholeImage = image && (await unlessGone(fetchImage(bus, image)));
    const said = [
      whole?.toString('utf8') ?? text,
      ...(long && !whole ? [restGone] : []),
      ...(image && !wholeImage ? [imageGone] : []),
    ];
    return { ...event, wholeText: said.join('\n'), ...(wholeImage ? { wholeImage } : {}) };
  }
  if (event.type === 'toka.run.queued.v1' && event.data.forkOf) {
    const { runId, at } = event.data.forkOf;
    return { ...event, before: await conversationOf(bus, await eventsUntil(bus, runId, at)) };
  }
  if (event.type !== 'toka.run.step-completed.v1' || !('artifact' in event.data.answer)) return event;
  const bytes = await unlessGone(bus.artifacts.get(event.data.answer.artifact));
  if (!bytes) throw goneFrom(event);
  return { ...event, wholeAnswer: Answer.parse(JSON.parse(bytes.toString('utf8'))) };
}

/** A run's events up to sequence `at`. Throws `not-found` where the log no longer has its beginning. */
export async function eventsUntil(bus: Pick<Bus, 'read'>, runId: string, at: number): Promise<Recorded<RunEvent>[]> {
  const events = (await bus.read('run', runId, 1, at)).filter(isRunEvent).filter(({ seq }) => seq <= at);
  const first = events.findIndex(({ type }) => type === 'toka.run.queued.v1');
  if (first >= 0) return events.slice(first);
  throw new Failure('not-found', `the log has no run "${runId}" as of event ${at}`);
}

const unlessGone = <T>(fetched: Promise<T>): Promise<T | undefined> =>
  fetched.catch((error) => {
    if (error instanceof Failure && error.code === 'gone') return undefined;
    throw error;
  });

const goneFrom = ({ seq, type, subject }: Recorded<RunEvent>) => new Failure('gone', wordsOn(type, subject, seq));

/** What is no longer kept of what an event names, and from where on the run can still be forked. */
function wordsOn(type: RunEvent['type'], subject: string, seq: number): string {
  const of = `of event ${seq} of ${subject} is no longer kept`;
  const before = `at=${seq - 1}`;
  switch (type) {
    case 'toka.run.queued.v1':
      return `what ${subject} was forked with is no longer kept: it can be forked at none of its steps`;
    case 'toka.run.deliverable-submitted.v1':
      return `the deliverable ${of}: fork the run as it stood before (${before}), or with a message`;
    case 'toka.run.step-completed.v1':
      return `the model's answer ${of}: the run can be shown and forked as it stood before (${before}), and at no later step`;
    default:
      return `the workspace ${of}: the run can be forked as it stood before (${before}), and at no later step`;
  }
}

/** Looks whether a fork would have all that it cannot do without, and reads none of it: workspaces are large. Throws `gone`. */
export async function checkForkable(
  bus: Pick<Bus, 'read'> & { artifacts: Pick<Bus['artifacts'], 'has'> },
  events: readonly Recorded<RunEvent>[],
  state: Fork['state'] | undefined,
): Promise<void> {
  const answers = events.flatMap(answerOf);
  const needed = new Set([...answers.map(({ sha256 }) => sha256), ...hashesIn(JSON.stringify(state ?? null))]);
  const there = await Promise.all([...needed].map((sha256) => bus.artifacts.has({ sha256 })));
  const gone = new Set([...needed].filter((_, index) => !there[index]));
  const first = events.find(({ data }) => hashesIn(JSON.stringify(data)).some((sha256) => gone.has(sha256)));
  if (first) throw goneFrom(first);
  const [begun] = events;
  if (begun?.type !== 'toka.run.queued.v1' || !begun.data.forkOf) return;
  const { runId, at } = begun.data.forkOf;
  await checkForkable(bus, await eventsUntil(bus, runId, at), undefined);
}

const answerOf = (event: Recorded<RunEvent>): ArtifactRef[] =>
  event.type === 'toka.run.step-completed.v1' && 'artifact' in event.data.answer ? [event.data.answer.artifact] : [];

/** What a run and its model had said by these events, its first ones. */
export async function conversationOf(bus: Source, events: readonly Recorded<RunEvent>[]) {
  let messages: readonly Said[] = [];
  for (const event of events) messages = conversation(messages, await wholeEvent(bus, event));
  return messages;
}
