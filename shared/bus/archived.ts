import { setTimeout as delay } from 'node:timers/promises';
import type { NatsConnection } from 'nats';
import { readLog } from '#shared/contracts/store.ts';
import { Failure } from '#shared/errors.ts';
import type { RawEvent } from './log-event.ts';
import { ask } from './requests.ts';

/** Which messages: from and to which sequence, both included, and on which subjects, which may have wildcards; all where they are not given. */
export type ArchivedPart = {
  from: number;
  until?: number | undefined;
  subjects?: readonly string[] | undefined;
  /** The archive that answers has come to this sequence. */
  holds?: number | undefined;
};

export type ArchivedOptions = {
  /** How long it is asked for, while nobody answers. */
  patienceMs?: number;
  signal?: AbortSignal | undefined;
};

const answerMsMax = 10_000;
const usualPatienceMs = 10_000;
const againMs = 100;

/**
 * What the log held, from the archive of any store, in order. It answers, by `return`, up to which sequence that archive has come. Throws
 * `unavailable` where none answers that holds so much.
 */
export async function* readArchived(
  nc: NatsConnection,
  { from, until, subjects, holds }: ArchivedPart,
  options: ArchivedOptions = {},
): AsyncGenerator<RawEvent, number> {
  let parts: Buffer[] = [];
  for (let next: { from: number; offset: number } | null = { from, offset: 0 }; ; ) {
    const question = { ...next, until, subjects: subjects && [...subjects], holds };
    const page = await untilAnswered(nc, question, options);
    next = page.next;
    for (const [index, { seq, subject, data }] of page.messages.entries()) {
      parts.push(Buffer.from(data, 'base64'));
      // A large message comes in several pages.
      if (index === page.messages.length - 1 && next?.from === seq) continue;
      yield { seq, subject, bytes: parts.length === 1 ? (parts[0] ?? Buffer.of()) : Buffer.concat(parts) };
      parts = [];
    }
    if (next === null) return page.seq;
  }
}

async function untilAnswered(
  nc: NatsConnection,
  question: Parameters<typeof ask<typeof readLog.input, typeof readLog.output>>[2],
  { patienceMs = usualPatienceMs, signal }: ArchivedOptions,
) {
  const untilMs = performance.now() + patienceMs;
  for (;;) {
    try {
      return await ask(nc, readLog, question, { timeoutMs: answerMsMax, signal });
    } catch (error) {
      // Another store's archive may have come further.
      const isPassing = error instanceof Failure && (error.code === 'unavailable' || error.code === 'timeout');
      if (!isPassing || signal?.aborted || nc.isClosed() || performance.now() > untilMs) throw error;
      await delay(againMs);
    }
  }
}
