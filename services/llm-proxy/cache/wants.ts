import { Failure } from '#shared/errors.ts';

/** What a caller wants of the answers that are kept: to be given one (no older than `maxAgeS`), to have its own kept. */
export type How = { read: boolean; write: boolean; maxAgeS?: number };

type Wish = {
  /** The request's, unchecked. */
  temperature: unknown;
  /** The header Cache-Control. */
  cacheControl: string | undefined;
  /** The header x-toka-cache: on or off. */
  tokaCache: string | undefined;
};

const neither: How = { read: false, write: false };
const both: How = { read: true, write: true };
const longestS = 31_536_000;

/**
 * Whether a request may be answered from the cache: where it says so, else only at temperature 0. `no-store` refuses both, `no-cache`
 * reading, `max-age` entries that are older. Throws `invalid` where x-toka-cache is neither on nor off.
 */
export function wantsCache({ temperature, cacheControl, tokaCache }: Wish): How {
  const asked = tokaCache === undefined ? undefined : tokaCache.trim().toLowerCase();
  if (asked !== undefined && asked !== 'on' && asked !== 'off')
    throw new Failure('invalid', 'x-toka-cache must be "on" or "off"');
  if (asked === undefined ? temperature !== 0 : asked === 'off') return neither;
  return cacheControl === undefined ? both : readCacheControl(cacheControl);
}

function readCacheControl(header: string): How {
  const how = { ...both };
  for (const part of header.toLowerCase().split(',')) {
    const [name = '', value] = part.split('=', 2).map((side) => side.trim());
    if (name === 'no-store') return neither;
    if (name === 'no-cache') how.read = false;
    if (name === 'max-age') how.maxAgeS = secondsOf(value);
  }
  return how;
}

/** One that cannot be read counts as nought: rather a new answer than one that is too old. */
function secondsOf(value = ''): number {
  const [, digits] = /^"?(\d{1,15})"?$/.exec(value) ?? [];
  return Math.min(Number(digits ?? 0), longestS);
}
