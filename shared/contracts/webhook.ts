import { z } from 'zod';
import { AgentId } from './ids.ts';
import { name } from './name.ts';

/** An address for webhooks: whose name and port may be reached is decided where it is reached. */
const WebhookUrl = z
  .string()
  .max(2_000, 'must be at most 2000 characters')
  .refine((text) => {
    const url = URL.parse(text);
    const isHttp = url?.protocol === 'https:' || url?.protocol === 'http:';
    return isHttp && url.username === '' && url.password === '' && url.hash === '';
  }, 'must be a URL such as "https://example.com/hook", without user, password and #');

/** Where events go, and which: what is not given does not count. */
export const WebhookTerms = z.strictObject({
  url: WebhookUrl,
  /** Types, or beginnings of types and `*`; none: every type. */
  types: z
    .array(
      z
        .string()
        .regex(/^[a-z0-9.-]{1,100}\*?$/, 'must be a type such as "toka.run.completed.v1", or its beginning and "*"'),
    )
    .max(20, 'must be at most 20 types')
    .default([]),
  /** Its own events, and those of its runs, memory and model calls. */
  agent: AgentId.nullable().default(null),
  /** Whose webhook it is: it gets no event of another. */
  workstream: name(100).nullable().default(null),
});
export type WebhookTerms = z.infer<typeof WebhookTerms>;

/** What deliveries are signed with, as Standard Webhooks writes it: 24 to 64 bytes in base64. */
export const WebhookSecret = z
  .string()
  .regex(/^whsec_(?:[A-Za-z0-9+/]{4}){8,21}(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/, {
    message: 'must be "whsec_" and 24 to 64 bytes in base64; leave it out, and one is made',
  });

/** How far a webhook has come, and how often in a row it has failed since. */
export const Progress = z.object({
  /** Of the last event that is dealt with. */
  seq: z.number().int().nonnegative(),
  failures: z.number().int().nonnegative(),
  failingSince: z.iso.datetime().nullable(),
  lastFailure: z.string().nullable(),
});
export type Progress = z.infer<typeof Progress>;
