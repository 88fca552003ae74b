import { isIP } from 'node:net';
import type { Context } from 'koa';
import { z } from 'zod';
import { Failure } from '#shared/errors.ts';
import { clip } from '#shared/text.ts';

const isName = (text: string) => /^(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$/.test(text);

/** Names by which people reach a gateway, with commas between. */
export const Hosts = z
  .string()
  .transform((text) => text.split(',').map((each) => each.trim().toLowerCase()))
  .refine((names) => names.every(isName), 'must be host names such as "toka.example.com,toka.lan", without ports');

/**
 * Throws `misdirected` where a request is for a host that is not ours: a web page whose author lets its name lead here (DNS rebinding) could read
 * every answer that needs no token, for to a browser it is of the same origin.
 */
export type CheckHost = (ctx: Context) => void;

/** Ours are addresses, names without a dot (`localhost`, those of containers), which nobody can have on the internet, and `allowed`. */
export function createCheckHost(allowed: readonly string[]): CheckHost {
  const names = new Set(allowed);
  return (ctx) => {
    const host = ctx.get('host');
    // Only what is older than HTTP/1.1 sends none: no browser.
    if (host === '') return;
    const name = URL.parse(`http://${host}`)?.hostname.replace(/\.$/, '') ?? '';
    const isOurs = isIP(name.replace(/^\[|\]$/g, '')) !== 0 || isLocal(name) || names.has(name);
    if (isOurs) return;
    throw new Failure(
      'misdirected',
      `${JSON.stringify(clip(host, 200))} is not a name of this server; if it is reached by that, add it to ALLOWED_HOSTS`,
    );
  };
}

const isLocal = (name: string) => (name !== '' && !name.includes('.')) || name.endsWith('.localhost');
