import { z } from 'zod';
import type { FailureCode } from '#shared/errors.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import { readRetryAfter } from '#shared/retry-after.ts';
import { scrub } from '#shared/secrets.ts';
import { clip } from '#shared/text.ts';
import type { Upstream } from '../models/target.ts';
import { keepProviderError, statusOfNames } from '../wires/errors.ts';
import type { ProviderError } from '../wires/pivot.ts';
import { isUnpaid } from './billing.ts';

const detailCharsMax = 500;

/** Hears that the answer has begun to come, or that it is an error, with what the provider says of its limits. */
type OnBegin = (status: number, headers: Headers) => void;

type Opened<E> = { data: AsyncIterable<E>; response: Response };

/** Makes one streamed call. Whatever goes wrong comes out as a Failure of the one typed set, without a secret in it. */
export async function callUpstream<E, T>(
  upstream: Upstream,
  signal: AbortSignal,
  open: () => Promise<Opened<E>>,
  onBegin: OnBegin | undefined,
  read: (events: AsyncIterable<E>) => Promise<T>,
): Promise<T> {
  let events: AsyncIterable<E>;
  try {
    const { data, response } = await open();
    onBegin?.(response.status, response.headers);
    events = data;
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

function endOf(signal: AbortSignal): Failure | undefined {
  if (!signal.aborted) return undefined;
  if (signal.reason instanceof Failure) return signal.reason;
  return new Failure('timeout', 'the model did not answer within LLM_TIMEOUT');
}

/** Both SDKs' errors: a status, or within a stream a type. */
const SdkError = z.object({
  status: z.number().optional(),
  type: z.string().nullish(),
  headers: z.instanceof(Headers).optional().catch(undefined),
});

/** The failure that the provider itself answered with, if it did. */
export function answered(upstream: Upstream, error: unknown): Failure | undefined {
  const parsed = SdkError.safeParse(error);
  const said = errorIn(error);
  const status = parsed.data?.status ?? statusOfNames([parsed.data?.type, said?.code, said?.type]);
  if (status === undefined) return undefined;
  const told = {
    status,
    type: said?.type ?? undefined,
    code: said?.code ?? undefined,
    param: said?.param ?? undefined,
  };
  return failureOfProvider(upstream, { ...told, message: detailOf(error) }, parsed.data?.headers, error);
}

/** The failure that an error of the provider's is, with what its headers say of another try. */
export function failureOfProvider(
  upstream: Upstream,
  error: ProviderError,
  headers: Headers | undefined,
  body?: unknown,
): Failure {
  const { status, message: said } = error;
  const message = clip(scrub(said), detailCharsMax);
  const code = isUnpaid(status, body ?? { error }) ? 'unpaid' : codeOf(status);
  const retryAfterMs = code === 'limited' || code === 'unavailable' ? readRetryAfter(headers, Date.now()) : undefined;
  const text = `${upstream.label} answered ${status}: ${message}${adviceOn(status, code, upstream)}`;
  const failure = new Failure(code, text, {
    retryAfterMs,
    shouldRetry: code === 'unpaid' ? false : readShouldRetry(headers),
  });
  return status >= 400 && status <= 599 ? keepProviderError(failure, { ...error, message }) : failure;
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

const name = z.string().max(100).nullish().catch(undefined);
const Said = z.object({ message: z.string(), type: name, code: name, param: name });
const Body = z.union([z.object({ error: z.object({ error: Said }) }), z.object({ error: Said })]);

/** The error in the body. */
function errorIn(error: unknown): z.infer<typeof Said> | undefined {
  const body = Body.safeParse(error).data?.error;
  return body && ('error' in body ? body.error : body);
}

/** What the body says went wrong, else the SDK's words: never with a secret, never long. */
const detailOf = (error: unknown): string => clip(scrub(errorIn(error)?.message ?? messageOf(error)), detailCharsMax);
