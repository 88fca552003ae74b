import type { Bus } from '#shared/bus/bus.ts';
import type { DataOf, Recorded, RunEvent } from '#shared/contracts/events.ts';
import { isRunEvent } from '#shared/contracts/events.ts';
import type { ChatMessage } from '#shared/contracts/llm.ts';
import { Answer, Image } from '#shared/contracts/llm.ts';
import type { WholeEvent } from '#shared/domain/conversation.ts';
import { conversation } from '#shared/domain/conversation.ts';
import { Failure } from '#shared/errors.ts';

type Source = Pick<Bus, 'read'> & { artifacts: Pick<Bus['artifacts'], 'get'> };

type KeptImage = NonNullable<DataOf<'toka.run.tool-returned.v1'>['image']>;

export const fetchImage = async (bus: Source, { mediaType, artifact }: KeptImage): Promise<Image> =>
  Image.parse({ mediaType, base64: (await bus.artifacts.get(artifact)).toString('base64') });

/** An event with what it names fetched: long texts, pictures, and for a forked run what was said before. */
export async function wholeEvent(bus: Source, event: Recorded<RunEvent>): Promise<WholeEvent> {
  if (event.type === 'toka.run.tool-returned.v1') {
    const { whole: long, image } = event.data;
    return {
      ...event,
      ...(long ? { wholeText: (await bus.artifacts.get(long)).toString('utf8') } : {}),
      ...(image ? { wholeImage: await fetchImage(bus, image) } : {}),
    };
  }
  if (event.type === 'toka.run.queued.v1' && event.data.forkOf) {
    const { runId, at } = event.data.forkOf;
    return { ...event, before: await conversationOf(bus, await eventsUntil(bus, runId, at)) };
  }
  if (event.type !== 'toka.run.step-completed.v1' || !('artifact' in event.data.answer)) return event;
  const bytes = await bus.artifacts.get(event.data.answer.artifact);
  return { ...event, wholeAnswer: Answer.parse(JSON.parse(bytes.toString('utf8'))) };
}

/** A run's events up to sequence `at`. Throws `not-found` where the log no longer has its beginning. */
export async function eventsUntil(bus: Pick<Bus, 'read'>, runId: string, at: number): Promise<Recorded<RunEvent>[]> {
  const events = (await bus.read('run', runId, 1, at)).filter(isRunEvent).filter(({ seq }) => seq <= at);
  const first = events.findIndex(({ type }) => type === 'toka.run.queued.v1');
  if (first >= 0) return events.slice(first);
  throw new Failure('not-found', `the log has no run "${runId}" as of event ${at}`);
}

/** What a run and its model had said by these events, its first ones. */
export async function conversationOf(bus: Source, events: readonly Recorded<RunEvent>[]) {
  let messages: readonly ChatMessage[] = [];
  for (const event of events) messages = conversation(messages, await wholeEvent(bus, event));
  return messages;
}
