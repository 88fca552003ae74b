import { z } from 'zod';
import { ProblemDetails } from '#shared/contracts/api/problem.ts';
import type { FailureCode } from '#shared/errors.ts';
import { statusOf } from '#shared/errors.ts';
import type { Route } from '../route.ts';

export const Problem = ProblemDetails.extend({
  code: z.enum(Object.keys(statusOf) as [FailureCode, ...FailureCode[]]).describe('What is wrong, for programs'),
});

type Kind = { name: string; description: string; title: string; detail: string; code: FailureCode; later?: boolean };

/** What may come instead of an answer, by its status. */
const kinds: Record<number, Kind> = {
  400: {
    name: 'Invalid',
    description: 'Something in the request is wrong; `errors` names every field.',
    ...{ title: 'Bad Request', detail: 'limits.max_steps must be at least 1', code: 'invalid' },
  },
  401: {
    name: 'Unauthorized',
    description: 'There is no token, or it is no good; `WWW-Authenticate` says which scope is needed.',
    ...{ title: 'Unauthorized', detail: 'the token has expired; this needs a token with the scope "runs:read"' },
    code: 'unauthorized',
  },
  403: {
    name: 'Forbidden',
    description: 'The token lacks the scope, or is limited to other workstreams.',
    ...{ title: 'Forbidden', detail: 'the scope "runs:write" is missing from the token', code: 'forbidden' },
  },
  404: {
    name: 'NotFound',
    description: 'There is no such thing, or none that the token may see.',
    ...{ title: 'Not Found', detail: 'there is no agent "scout"', code: 'not-found' },
  },
  408: {
    name: 'Incomplete',
    description: 'The body did not come in whole in time; the connection is closed.',
    ...{ title: 'Request Timeout', detail: 'the body did not come in whole, or not in time', code: 'incomplete' },
  },
  409: {
    name: 'Conflict',
    description: 'As things stand it cannot be done.',
    ...{ title: 'Conflict', detail: 'the run has ended: it was completed', code: 'conflict' },
  },
  410: {
    name: 'Gone',
    description:
      'It was there, and is no longer kept: `DELIVERABLES_MAX_AGE` and `EVENTS_MAX_AGE` say for how long what is.',
    ...{ title: 'Gone', detail: 'the run\'s "report.md" is no longer kept: see DELIVERABLES_MAX_AGE', code: 'gone' },
  },
  412: {
    name: 'Stale',
    description: 'It is no longer at the version of `If-Match`: read it again.',
    ...{ title: 'Precondition Failed', detail: 'the agent is at version 18 and no longer at 17; read it again' },
    code: 'stale',
  },
  413: {
    name: 'TooLarge',
    description: 'The body has more bytes than `BODY_BYTES_MAX`.',
    ...{ title: 'Payload Too Large', detail: 'the body has more than 1048576 bytes', code: 'too-large' },
  },
  415: {
    name: 'Unsupported',
    description: 'The body is no JSON by its `Content-Type`, or is compressed.',
    ...{ title: 'Unsupported Media Type', detail: 'the body must be sent without "Content-Encoding"' },
    code: 'unsupported',
  },
  421: {
    name: 'Misdirected',
    description: 'The `Host` is no name of this server: neither local, nor an address, nor in `ALLOWED_HOSTS`.',
    ...{ title: 'Misdirected Request', detail: '"evil.example" is not a name of this server', code: 'misdirected' },
  },
  422: {
    name: 'Reused',
    description: 'The `Idempotency-Key` came with another request within the last day.',
    ...{ title: 'Unprocessable Entity', detail: 'this Idempotency-Key was used for another request; use a new one' },
    code: 'reused',
  },
  428: {
    name: 'Unconditional',
    description: '`If-Match` is missing.',
    ...{ title: 'Precondition Required', detail: 'If-Match is missing: send the ETag that GET gave, or "*"' },
    code: 'unconditional',
  },
  429: {
    name: 'Limited',
    description:
      'Too much at a time: of requests, of open streams, or of runs that wait. `Retry-After` says when to try again.',
    ...{ title: 'Too Many Requests', detail: 'more than 3000 requests in 60 s', code: 'limited', later: true },
  },
  500: {
    name: 'Internal',
    description: 'A fault of Toka; it is in the log of the gateway under the request id.',
    ...{ title: 'Internal Server Error', detail: 'an internal error; it is in the log', code: 'internal' },
  },
  503: {
    name: 'Unavailable',
    description:
      'NATS or the store does not answer, or has not come to `minSeq` yet. `Retry-After` says when to try again.',
    ...{
      title: 'Service Unavailable',
      detail: 'the archive is at 41 and not yet at 42',
      code: 'unavailable',
      later: true,
    },
  },
  504: {
    name: 'Late',
    description: 'What was asked for takes too long.',
    ...{ title: 'Gateway Timeout', detail: 'toka.store.query.runs took longer than 10000 ms', code: 'timeout' },
  },
  507: {
    name: 'DiskFull',
    description:
      'A disk is full: nothing new is taken until there is room. What is kept can be read. `Retry-After` says when to try again.',
    ...{ title: 'Insufficient Storage', detail: 'nats-server has no room for more: its disk is full', later: true },
    code: 'disk-full',
  },
};

const schema = { $ref: '#/components/schemas/Problem' };

/** Each as a response of its own. */
export const problemResponses = Object.fromEntries(
  Object.entries(kinds).map(([status, { name, description, title, detail, code, later }]) => {
    const problem = { type: 'about:blank', title, status: Number(status), detail, code };
    const errors = status === '400' ? { errors: [{ field: 'limits.max_steps', message: 'must be at least 1' }] } : {};
    return [
      name,
      {
        description,
        ...(later ? { headers: { 'Retry-After': { $ref: '#/components/headers/Retry-After' } } } : {}),
        content: { 'application/problem+json': { schema, example: { ...problem, ...errors } } },
      },
    ];
  }),
);

/** Those that a route may answer with. */
export function problemsOf({ scope, path, method, headers, body, ages }: Route): Record<string, { $ref: string }> {
  const statuses = [
    400,
    ...(scope === null ? [421] : [401, 403]),
    ...(path.includes(':') || method === 'post' ? [404] : []),
    ...(method === 'get' ? [] : [409]),
    ...(ages ? [410] : []),
    ...('If-Match' in headers.shape ? [412, 428] : []),
    ...(body ? [408, 413, 415] : []),
    ...('Idempotency-Key' in headers.shape ? [422] : []),
    ...[429, 500, 503, 504],
    ...(method === 'get' && path !== '/health' ? [] : [507]),
  ];
  return Object.fromEntries(
    statuses.toSorted().map((status) => [status, { $ref: `#/components/responses/${kinds[status]?.name}` }]),
  );
}
