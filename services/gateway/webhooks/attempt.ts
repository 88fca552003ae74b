import type { Webhook } from '#shared/domain/webhook.ts';
import { pairsOf } from '#shared/egress/headers.ts';
import type { Answer } from '#shared/egress/send.ts';
import { messageOf } from '#shared/errors.ts';
import { readRetryAfter } from '#shared/retry-after.ts';
import { clip } from '#shared/text.ts';
import { version } from '#shared/version.ts';
import type { Seal } from './seal.ts';
import { signatureHeaders } from './sign.ts';
import type { WayOut } from './way-out.ts';

/** What is delivered: its id stays the same however often it is tried. */
export type Message = { id: string; text: string };

/** What became of one try. `gone`: the receiver wants no more, ever. */
export type Outcome = {
  how: 'delivered' | 'failed' | 'gone';
  /** What the receiver answered; null where it did not. */
  status: number | null;
  reason: string;
  retryAfterMs?: number | undefined;
  durationMs: number;
};

/** Tries once. Never throws. */
export type Attempt = (
  webhook: Pick<Webhook, 'id' | 'url' | 'sealed'>,
  message: Message,
  signal: AbortSignal,
) => Promise<Outcome>;

const answerBytesMax = 64 * 1024;
const reasonCharsMax = 300;

export function createAttempt({ wayOut, seal, timeoutMs }: { wayOut: WayOut; seal: Seal; timeoutMs: number }): Attempt {
  return async ({ id: webhookId, url, sealed }, { id, text }, signal) => {
    const startedMs = performance.now();
    const timeout = AbortSignal.timeout(timeoutMs);
    const done = (outcome: Omit<Outcome, 'durationMs'>) => ({ ...outcome, durationMs: performance.now() - startedMs });
    try {
      const headers = {
        'content-type': 'application/cloudevents+json; charset=utf-8',
        'user-agent': `toka/${version}`,
        ...signatureHeaders(seal.open(webhookId, sealed), id, text, Date.now()),
      };
      const answer = await wayOut.send(new URL(url), {
        method: 'POST',
        headers: Object.entries(headers).flat(),
        body: Buffer.from(text),
        signal: AbortSignal.any([signal, timeout]),
      });
      await letEnd(answer);
      return done(outcomeOf(answer));
    } catch (error) {
      const reason = timeout.aborted ? `there was no answer within ${timeoutMs / 1000} s` : messageOf(error);
      return done({ how: 'failed', status: null, reason: clip(reason, reasonCharsMax) });
    }
  };
}

/** Only the status counts: of the body no more is taken than lets the receiver end well. */
async function letEnd({ body, cancel }: Answer): Promise<void> {
  try {
    for (let bytes = 0; bytes < answerBytesMax; ) {
      const { done, value } = await body.next();
      if (done) break;
      bytes += value.length;
    }
  } catch {
    // It has answered: what breaks afterwards changes nothing.
  }
  cancel();
}

function outcomeOf({ status, headers }: Answer): Omit<Outcome, 'durationMs'> {
  const reason = `it answered ${status}`;
  if (status >= 200 && status < 300) return { how: 'delivered', status, reason };
  if (status === 410) return { how: 'gone', status, reason: `${reason} (Gone)` };
  if (status >= 300 && status < 400) return { how: 'failed', status, reason: `${reason}: redirects are not followed` };
  return { how: 'failed', status, reason, retryAfterMs: readRetryAfter(new Headers(pairsOf(headers)), Date.now()) };
}
