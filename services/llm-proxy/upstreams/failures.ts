import { z } from 'zod';
import type { FailureCode } from '#shared/errors.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import { readRetryAfter } from '#shared/retry-after.ts';
import { scrub } from '#shared/secrets.ts';
import { clip } from '#shared/text.ts';
import { isUnpaid } from './billing.ts';
import type { OnBegin } from './provider.ts';

const detailCharsMax = 500;

/** Whom a call goes to, and which settings to check when it fails. */
export type Upstream = { label: string; keySetting: string; urlSetting: string; baseUrl: string };

type Opened<E> = { data: AsyncIterable<E>; response: Response };

/** Makes one streamed call. Whatever goes wrong comes out as a Failure of the one typed set, without a secret in it. */
export async function callUpstream<E, T>(
  upstream: Upstream,
  signal: AbortSignal,
  open: () => Promise<Opened<E>>,
  onBegin: OnBegin | undefined,
  read: (events: AsyncIterable<E>) => Promise<T>,
  onPiece?: () => void,
): Promise<T> {
  let events: AsyncIterable<E>;
  try {
    const { data, response } = await open();
    onBegin?.(response.status, response.headers);
    events = onPiece ? heard(data, onPiece) : data;
  } catch (error) {
    const { status, headers } = SdkError.safeParse(error).data ?? {};
    if (status !== undefined && headers) onBegin?.(status, headers);
    throw endOf(signal) ?? answered(upstream, error) ?? unreachable(upstream, error);
  }
  try {
    return await read(events);
  } catch (error) {
    const ended = endOf(signal) ?? (error instanceof Failure ? error : answered(upstream, error));
    throw ended ?? new Failure('upstream', `the answer of ${upstream.label} cannot be read: ${detailOf(error)}`);
  }
}

async function* heard<E>(events: AsyncIterable<E>, onPiece: () => void): AsyncIterable<E> {
  for await (const event of events) {
    onPiece();
    yield event;
  }
}

function endOf(signal: AbortSignal): Failure | undefined {
  if (!signal.aborted) return undefined;
  if (signal.reason instanceof Failure) return signal.reason;
  return new Failure('timeout', 'the model did not answer within LLM_TIMEOUT');
}

const statusOfType: Record<string, number> = {
  invalid_request_error: 400,
  authentication_error: 401,
  permission_error: 403,
  not_found_error: 404,
  request_too_large: 413,
  rate_limit_error: 429,
  rate_limit_exceeded: 429,
  api_error: 500,
  server_error: 500,
  timeout_error: 504,
  overloaded_error: 529,
};

/** Both SDKs' errors: a status, or within a stream a type. */
const SdkError = z.object({
  status: z.number().optional(),
  type: z.string().nullish(),
  headers: z.instanceof(Headers).optional().catch(undefined),
});

/** The failure that the provider itself answered with, if it did. */
export function answered(upstream: Upstream, error: unknown): Failure | undefined {
  const parsed = SdkError.safeParse(error);
  const status = parsed.data?.status ?? statusOfType[parsed.data?.type ?? ''];
  if (status === undefined) return undefined;
  const code = isUnpaid(status, error) ? 'unpaid' : codeOf(status);
  const headers = parsed.data?.headers;
  const retryAfterMs = code === 'limited' || code === 'unavailable' ? readRetryAfter(headers, Date.now()) : undefined;
  const text = `${upstream.label} answered ${status}: ${detailOf(error)}${adviceOn(status, code, upstream)}`;
  return new Failure(code, text, { retryAfterMs, shouldRetry: code === 'unpaid' ? false : readShouldRetry(headers) });
}

/** What both SDKs obey before anything else (source: `shouldRetry` in openai 7.57 and @anthropic-ai/sdk 1.12, read 2026-11-30). */
function readShouldRetry(headers: Headers | undefined): boolean | undefined {
  const said = headers?.get('x-should-retry');
  return said === 'true' ? true : said === 'false' ? false : undefined;
}

function adviceOn(status: number, code: FailureCode, { label, keySetting, urlSetting }: Upstream): string {
  if (code === 'unpaid') return `; whoever runs this has to see to the account at ${label} (${keySetting})`;
  if (status === 401 || status === 403) return `; check ${keySetting}`;
  return status === 404 ? `; check the model's name and ${urlSetting}` : '';
}

function codeOf(status: number): FailureCode {
  if (status === 401 || status === 403) return 'unauthorized';
  if (status === 408 || status === 504) return 'timeout';
  if (status === 413) return 'too-large';
  if (status === 429) return 'limited';
  // Something else held what it needs (both SDKs try again); nothing was paid for.
  if (status >= 500 || status === 409) return 'unavailable';
  if (status >= 400) return 'invalid';
  return 'upstream';
}

/** The connection did not come about, or broke before anything came. */
export function unreachable({ label, baseUrl, urlSetting }: Upstream, error: unknown): Failure {
  let cause = error;
  while (cause instanceof Error && cause.cause) cause = cause.cause;
  const reason = clip(scrub(messageOf(cause) || String(cause)), detailCharsMax);
  return new Failure(
    'unavailable',
    `${label} at ${new URL(baseUrl).host} cannot be reached: ${reason}; check ${urlSetting}`,
  );
}

const message = z.object({ message: z.string() });
const Body = z.union([z.object({ error: z.object({ error: message }) }), z.object({ error: message })]);

/** What the body says went wrong, else the SDK's words: never with a secret, never long. */
function detailOf(error: unknown): string {
  const body = Body.safeParse(error).data?.error;
  const said = body === undefined ? messageOf(error) : 'error' in body ? body.error.message : body.message;
  return clip(scrub(said), detailCharsMax);
}
