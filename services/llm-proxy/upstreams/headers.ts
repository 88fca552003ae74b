import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import { scrub } from '#shared/secrets.ts';

const names = (text: string): string[] => text.trim().split(/\s+/);

/**
 * What does not go through between a client and a provider, in either direction, although both speak one wire. All else does, known or
 * not: wires grow by headers. First what belongs to the connection (RFC 9110, section 7.6.1) and to the body, which is sent as our own.
 */
const ofTheConnection = names(`
  connection keep-alive te trailer transfer-encoding upgrade expect host http2-settings date
  accept-encoding content-encoding content-length content-type content-md5 digest
`);
/** Credentials: a client's own are for us alone, and a provider's are not for clients. */
const credentials = names(`
  authorization x-api-key api-key cookie cookie2 set-cookie set-cookie2 www-authenticate authentication-info
  x-csrf-token x-xsrf-token
`);
/** Where a message has been, and who follows it: addresses and names inside a network. */
const whereabouts = names(`
  forwarded via from server x-powered-by x-served-by x-backend-server x-upstream x-hostname x-server x-host x-scheme
  x-real-ip x-client-ip x-cluster-client-ip true-client-ip x-original-url x-original-host x-original-forwarded-for
  x-rewrite-url x-http-method x-http-method-override x-method-override cdn-loop cf-visitor cf-worker
  traceparent tracestate baggage sentry-trace newrelic x-cloud-trace-context
`);
/** What is for caches on the way and for browsers. */
const forOthers = names(`
  cache-control pragma expires age etag last-modified vary range accept-ranges origin referer location refresh link
  alt-svc strict-transport-security expect-ct nel report-to reporting-endpoints permissions-policy referrer-policy
  x-frame-options x-content-type-options x-xss-protection timing-allow-origin clear-site-data sourcemap
`);
/** All clients use one account: what a provider remembers by the first may be another's. */
const remembered = names('idempotency-key x-idempotency-key');
const heldNames: ReadonlySet<string> = new Set([
  ...[ofTheConnection, credentials, whereabouts, forOthers, remembered].flat(),
]);
/** Of networks, of clouds that are told by them on whose account a request is, of browsers, and our own. */
const heldBeginnings = names(`
  proxy- x-forwarded- x-envoy- x-b3- x-kong- cf-connecting- cf-ip x-datadog- x-newrelic- fly- x-vercel-
  x-goog- x-amz- x-amzn- x-ms- x-azure- x-appengine- sec- if- access-control- cross-origin- content-security-policy x-toka-
`);

/** A credential of whatever kind; not a number of tokens, which is written in the plural. */
const looksSecret =
  /(^|[-_])(authorization|auth|api-?key|key|token|secret|password|credentials?|cookie|jwt|signature)$/;

const known = new Map<string, boolean>();
const knownMax = 1_000;

/** Whether a header is held back, in either direction. Most calls bring the same few names. */
function isHeld(name: string): boolean {
  const before = known.get(name);
  if (before !== undefined) return before;
  // Whoever looks into a call needs its id, whatever way it went.
  const isId = /(^|-)request-?id$/.test(name);
  const held =
    !isId &&
    (heldNames.has(name) || looksSecret.test(name) || heldBeginnings.some((beginning) => name.startsWith(beginning)));
  if (known.size < knownMax) known.set(name, held);
  return held;
}

/** On whose account a call is, which the operator's key says, and no client's environment (OPENAI_ORG_ID, OPENAI_PROJECT_ID): asked with another's, OpenAI refuses it. */
const accounts: ReadonlySet<string> = new Set(['openai-organization', 'openai-project']);

/** What both undici and Node would refuse to write. */
const writable = /^[\t\x20-\x7e\x80-\xff]*$/;

/** Those that a request's or an answer's own `connection` names belong to it, too. */
const namedBy = (connection: string | string[] | undefined): ReadonlySet<string> | undefined =>
  connection === undefined || /^(keep-alive|close)$/i.test(String(connection))
    ? undefined
    : new Set(
        String(connection)
          .toLowerCase()
          .split(',')
          .map((each) => each.trim()),
      );

/** Of a client's headers, those that a provider gets that speaks its wire. */
export function headersForProvider(headers: IncomingHttpHeaders): Record<string, string> {
  const passed: Record<string, string> = {};
  const named = namedBy(headers.connection);
  for (const name in headers) {
    if (isHeld(name) || accounts.has(name) || named?.has(name)) continue;
    const value = headers[name];
    if (typeof value === 'string' && writable.test(value)) passed[name] = value;
  }
  return passed;
}

/** Of these, the ones that choose what a request means, by their wire's names: an answer is kept under them. */
export function choosingHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  const chosen: Record<string, string> = {};
  for (const name in headers) {
    const value = headers[name];
    if (typeof value === 'string' && /^(x-)?(anthropic|openai)-/.test(name) && !isHeld(name) && !accounts.has(name))
      chosen[name] = value;
  }
  return chosen;
}

/** What says something to the client of any wire. */
const forAnyWire: ReadonlySet<string> = new Set([
  ...['content-type', 'retry-after', 'retry-after-ms', 'x-should-retry', 'request-id', 'x-request-id'],
]);

/** Of a provider's headers, those that a client gets; on another wire few of them mean anything. */
export function headersForClient(
  headers: IncomingHttpHeaders,
  { status, speaksAlike }: { status: number; speaksAlike: boolean },
): OutgoingHttpHeaders {
  const passed: OutgoingHttpHeaders = {};
  const named = namedBy(headers.connection);
  for (const name in headers) {
    const value = headers[name];
    if (value === undefined) continue;
    if (!forAnyWire.has(name) && (!speaksAlike || isHeld(name) || named?.has(name))) continue;
    const text = typeof value === 'string' ? value : value.join(', ');
    if (writable.test(text)) passed[name] = status === 200 ? text : scrub(text);
  }
  if (speaksAlike) return passed;
  // Each wire's client looks for the id of a request under its own name.
  const id = headers['request-id'] || headers['x-request-id'];
  if (typeof id === 'string' && writable.test(id)) Object.assign(passed, { 'request-id': id, 'x-request-id': id });
  return passed;
}
