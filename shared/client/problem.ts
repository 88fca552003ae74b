import { z } from 'zod';
import type { FailureCode } from '#shared/errors.ts';
import { Failure, statusOf } from '#shared/errors.ts';
import { readRetryAfter } from '#shared/retry-after.ts';

const textMax = 300;
const problemBytesMax = 256 * 1024;
const codes = Object.keys(statusOf) as FailureCode[];

/** As much of a problem as there is: what answers may be a proxy, or a newer gateway. */
const Told = z.object({
  detail: z.string().optional(),
  title: z.string().optional(),
  code: z.string().optional(),
  errors: z.array(z.object({ field: z.string(), message: z.string() })).optional(),
});

/** What an answer that is none says, as a Failure with its code and every field that is wrong. */
export async function failureIn(response: Response): Promise<Failure> {
  const text = await beginningOf(response);
  const { detail, title, code, errors } = toldIn(text);
  const retryAfterMs = readRetryAfter(response.headers, Date.now());
  return new Failure(
    codes.find((each) => each === code) ?? codeOf(response.status),
    detail ?? title ?? `the gateway answered ${response.status}: ${text.slice(0, textMax)}`,
    {
      ...(errors ? { problems: errors } : {}),
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    },
  );
}

/** As much of a body as a problem has: who answers may have no end. */
async function beginningOf({ body }: Response): Promise<string> {
  const reader = body?.getReader();
  const decoder = new TextDecoder();
  let text = '';
  try {
    for (let bytes = 0; reader && bytes < problemBytesMax; ) {
      const { done, value } = await reader.read();
      if (done) break;
      bytes += value.length;
      text += decoder.decode(value, { stream: true });
    }
    await reader?.cancel();
  } catch {
    // It broke off: what came tells as much as it can.
  }
  return text;
}

function toldIn(text: string): z.output<typeof Told> {
  try {
    return Told.parse(JSON.parse(text));
  } catch {
    return {};
  }
}

const codeOf = (status: number): FailureCode =>
  codes.find((code) => statusOf[code] === status) ?? (status >= 500 ? 'upstream' : 'invalid');
