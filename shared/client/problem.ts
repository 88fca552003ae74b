import { z } from 'zod';
import type { FailureCode } from '#shared/errors.ts';
import { Failure, statusOf } from '#shared/errors.ts';

const textMax = 300;
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
  const text = await response.text().catch(() => '');
  const { detail, title, code, errors } = toldIn(text);
  const seconds = Number(response.headers.get('Retry-After') ?? Number.NaN);
  return new Failure(
    codes.find((each) => each === code) ?? codeOf(response.status),
    detail ?? title ?? `the gateway answered ${response.status}: ${text.slice(0, textMax)}`,
    {
      ...(errors ? { problems: errors } : {}),
      ...(Number.isFinite(seconds) ? { retryAfterMs: seconds * 1000 } : {}),
    },
  );
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
