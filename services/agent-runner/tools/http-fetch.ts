import { z } from 'zod';
import { Failure } from '#shared/errors.ts';
import { clip } from '#shared/text.ts';
import type { OwnContext } from './own.ts';
import { defineTool } from './tool.ts';

const bytesMax = 5 * 1024 ** 2;
const charsMax = 50_000;
const shownHeaders = ['content-type', 'location', 'retry-after', 'link', 'etag', 'last-modified', 'www-authenticate'];

export const httpFetch = defineTool({
  name: 'http_fetch',
  description: `Makes an HTTP request to a host that this agent may reach, and answers the status, some headers and the text (up to ${charsMax} characters). Redirects are followed.`,
  needs: 'network-access',
  idempotent: false,
  readOnly: false,
  input: z.strictObject({
    url: z.url({ protocol: /^https?$/, error: 'must be an http or https URL' }).max(8_000),
    method: z.enum(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']).default('GET'),
    headers: z.record(z.string().max(200), z.string().max(8_000)).default({}),
    body: z
      .string()
      .max(1024 ** 2)
      .optional(),
  }),
  async run({ egress, signal, timeoutMs }: OwnContext, { url, method, headers, body }) {
    if (!egress) throw new Failure('invalid', 'this agent may not reach any host');
    const answer = await egress.fetch(url, {
      method,
      headers,
      signal,
      timeoutMs,
      bytesMax,
      ...(body === undefined ? {} : { body }),
    });
    const text = answer.body.includes(0)
      ? `(${answer.body.byteLength} bytes that are no text)`
      : answer.body.toString('utf8');
    return {
      isError: answer.status >= 400,
      text: [
        `${answer.status} ${answer.url}`,
        ...shownHeaders.filter((name) => answer.headers[name]).map((name) => `${name}: ${answer.headers[name]}`),
        '',
        clip(text, charsMax) + (answer.truncated ? '\n[… the answer is longer and was cut]' : ''),
      ].join('\n'),
    };
  },
});
