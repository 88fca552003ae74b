import { createHash, randomBytes } from 'node:crypto';

/** W3C Trace Context: which trace something belongs to, and what whoever began it wants passed on with it. */
export type Trace = { traceparent: string; tracestate?: string | undefined };

const tracestateCharsMax = 512;

/** What a request says of its trace; undefined where that is none. Of a version to come the part that is known counts. */
export function readTrace(traceparent: string, tracestate: string): Trace | undefined {
  const [, version, id, parent, flags] =
    /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:$|-)/.exec(traceparent) ?? [];
  if (!id || version === 'ff' || /^0+$/.test(id) || /^0+$/.test(parent ?? '')) return undefined;
  if (version === '00' && traceparent.length !== 55) return undefined;
  const isFit = tracestate.length <= tracestateCharsMax && /^[\x20-\x7e]+$/.test(tracestate);
  return { traceparent: `00-${id}-${parent}-${flags}`, ...(isFit ? { tracestate } : {}) };
}

const span = () => randomBytes(8).toString('hex');

/** A span of its own in the same trace. */
export function within({ traceparent, tracestate }: Trace): Trace {
  const [, id, , flags] = traceparent.split('-');
  return { traceparent: `00-${id}-${span()}-${flags}`, ...(tracestate === undefined ? {} : { tracestate }) };
}

/** All that belongs to one run or agent is one trace, whoever appends it: where nobody began one, its name begins it. */
export const traceOf = (name: string): Trace => ({
  traceparent: `00-${createHash('sha256').update(name).digest('hex').slice(0, 32)}-${span()}-01`,
});
