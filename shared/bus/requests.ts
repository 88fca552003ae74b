import type { Msg, NatsConnection } from 'nats';
import { headers } from 'nats';
import { z } from 'zod';
import type { Request } from '#shared/contracts/contract.ts';
import type { FailureCode } from '#shared/errors.ts';
import { Failure, messageOf, statusOf } from '#shared/errors.ts';
import { inboxOf, newInbox } from './inbox.ts';

const kindHeader = 'Toka-Kind';
const beatMs = 1_000;
const silenceMsMax = 4_000;

const FailureData = z.object({
  code: z.enum(Object.keys(statusOf) as [FailureCode, ...FailureCode[]]),
  message: z.string(),
  retryAfterMs: z.number().optional(),
  problems: z.array(z.object({ field: z.string(), message: z.string(), line: z.number().optional() })).optional(),
  shouldRetry: z.boolean().optional(),
});

const Chunk = z.object({ text: z.string() });

export type AskOptions = {
  timeoutMs?: number;
  signal?: AbortSignal | undefined;
  /** Hears of the answer's text while it is written, if the answerer sends it; a failure may still follow. */
  onChunk?: (text: string) => void;
};

/** Sends a piece of the answer's text ahead of the answer. */
export type SendChunk = (text: string) => void;

/**
 * Asks one instance of the service that answers `contract`. While it works it sends a heartbeat each second, so a dead service
 * is known in four seconds and a long answer may take as long as `timeoutMs`. Throws the answerer's Failure, or
 * `unavailable` (nobody answers), `timeout`, `internal` (the answer does not fit the contract).
 */
export function ask<I extends z.ZodType, O extends z.ZodType>(
  nc: NatsConnection,
  { subject, output }: Request<I, O>,
  input: z.input<I>,
  { timeoutMs = 10_000, signal, onChunk }: AskOptions = {},
): Promise<z.output<O>> {
  return new Promise((resolve, reject) => {
    const settle = (error: Failure | undefined, value?: z.output<O>) => {
      clearTimeout(silence);
      clearTimeout(total);
      signal?.removeEventListener('abort', aborted);
      slot.close();
      if (error) reject(error);
      else resolve(value as z.output<O>);
    };
    const gone = () => settle(new Failure('unavailable', `nobody answers ${subject}; is the service running?`));
    const aborted = () => settle(new Failure('unavailable', `${subject}: the question was withdrawn`));
    const silence = setTimeout(gone, silenceMsMax);
    const total = setTimeout(
      () => settle(new Failure('timeout', `${subject} took longer than ${timeoutMs} ms`)),
      timeoutMs,
    );

    const slot = inboxOf(nc).open((msg) => {
      if (msg.headers?.code === 503) return gone();
      const kind = msg.headers?.get(kindHeader);
      if (kind === 'beat' || kind === 'chunk') silence.refresh();
      if (kind === 'beat') return;
      try {
        if (kind === 'chunk') return onChunk?.(Chunk.parse(msg.json()).text);
        if (kind === 'failure') return settle(revive(msg));
        settle(undefined, output.parse(msg.json()));
      } catch (cause) {
        const text = `${subject} answered what its contract does not allow: ${messageOf(cause)}`;
        settle(new Failure('internal', text, { cause }));
      }
    });
    if (nc.isClosed()) return gone();
    if (signal?.aborted) return aborted();
    signal?.addEventListener('abort', aborted);
    nc.publish(subject, JSON.stringify(input), { reply: slot.reply });
  });
}

function revive(msg: Msg): Failure {
  const { code, message, ...options } = FailureData.parse(msg.json());
  return new Failure(code, message, options);
}

export type Handle<I extends z.ZodType, O extends z.ZodType> = (
  question: z.output<I>,
  sendChunk: SendChunk,
) => Promise<z.output<O>> | z.output<O>;

/** Answers a contract as one of its queue group's members; `problem` hears of failures that are no Failure: bugs. */
export function answer<I extends z.ZodType, O extends z.ZodType>(
  nc: NatsConnection,
  group: string,
  { subject, input }: Request<I, O>,
  handle: Handle<I, O>,
  problem: (error: unknown) => void,
): { drain(): Promise<void> } {
  const busy = new Set<Promise<void>>();
  const sub = nc.subscribe(subject, {
    queue: group,
    callback: (error, msg) => {
      if (error) return problem(error);
      const work = reply(msg, () => handle(parse(input, msg), chunksTo(msg)), problem).finally(() => busy.delete(work));
      busy.add(work);
    },
  });
  return {
    async drain() {
      if (!nc.isClosed()) await sub.drain().catch(() => undefined);
      await Promise.all(busy);
    },
  };
}

function parse<I extends z.ZodType>(schema: I, msg: Msg): z.output<I> {
  let value: unknown;
  try {
    value = msg.json();
  } catch (cause) {
    throw new Failure('invalid', `${msg.subject}: the question is not JSON`, { cause });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => ({ field: issue.path.join('.'), message: issue.message }));
  const detail = problems.map(({ field, message }) => `${field}: ${message}`).join('; ');
  throw new Failure('invalid', `${msg.subject}: ${detail}`, { problems });
}

const chunksTo =
  (msg: Msg): SendChunk =>
  (text) => {
    try {
      msg.respond(JSON.stringify({ text }), { headers: kind('chunk') });
    } catch {
      // The connection is closed: who asked will hear that the answer does not come.
    }
  };

async function reply(msg: Msg, work: () => unknown, problem: (error: unknown) => void): Promise<void> {
  const beat = setInterval(() => msg.respond('', { headers: kind('beat') }), beatMs);
  try {
    const result = await work();
    msg.respond(JSON.stringify(result), { headers: kind('result') });
  } catch (error) {
    if (!(error instanceof Failure)) problem(error);
    const failure = error instanceof Failure ? error : new Failure('internal', 'an internal error; see the log');
    const { code, message, retryAfterMs, problems, shouldRetry } = failure;
    msg.respond(JSON.stringify({ code, message, retryAfterMs, problems, shouldRetry }), { headers: kind('failure') });
  } finally {
    clearInterval(beat);
  }
}

function kind(value: 'beat' | 'chunk' | 'result' | 'failure') {
  const header = headers();
  header.set(kindHeader, value);
  return header;
}

/** Asks every instance of every service at once and collects what comes within `waitMs`. */
export async function askEach(nc: NatsConnection, subject: string, waitMs: number): Promise<unknown[]> {
  const inbox = newInbox(nc);
  const answers: unknown[] = [];
  const sub = nc.subscribe(inbox, {
    callback: (_error, msg) => {
      if (msg?.headers?.code !== 503) answers.push(msg.json());
    },
  });
  nc.publish(subject, '', { reply: inbox });
  await new Promise((resolve) => setTimeout(resolve, waitMs));
  if (!nc.isClosed()) sub.unsubscribe();
  return answers;
}
