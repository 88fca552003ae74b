import { createHash, randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Context } from 'koa';
import { z } from 'zod';
import type { Registers } from '#shared/bus/registers.ts';
import { Failure, isTransient } from '#shared/errors.ts';
import type { Caller } from './auth.ts';

/** What a request with an Idempotency-Key makes is named after this: who goes on where another broke off makes the same thing. */
export type Claim = { id: string; at: string };

const told = ['ETag', 'Location', 'Toka-Seq'] as const;

/** What is known of a request; null: nothing came of it. */
const Note = z
  .object({
    /** Which it was. */
    request: z.string(),
    id: z.string(),
    at: z.string(),
    /** Until then whoever has claimed it may be at work, in epoch milliseconds. */
    busyUntilMs: z.number(),
    answer: z.object({ status: z.number(), headers: z.record(z.string(), z.string()), body: z.unknown() }).nullable(),
  })
  .nullable();
type Note = z.output<typeof Note>;

const busyMs = 60_000;
const patienceMs = 10_000;
/** Many callers share the room that there is for a day's answers. */
const answerCharsMax = 64 * 1024;
const lookMs = 50;
const lookMsMax = 1_000;

type Request = {
  ctx: Context;
  caller: Caller;
  key: string | undefined;
  body: unknown;
  /** The answer is for its first reader alone: it is not kept, and doing it again has to be refused by what does it. */
  isSecret: boolean;
};

/** Does the work of a request once for its Idempotency-Key; whoever repeats it within a day is given the same answer. */
export type Once = (request: Request, work: (claim: Claim | undefined) => unknown) => Promise<unknown>;

export function createOnce(notes: Registers): Once {
  return async (request, work) => {
    if (request.key === undefined) return work(undefined);
    const name = digest([request.caller.sub, request.caller.workstreams?.toSorted() ?? null, request.key]);
    const { note, revision, isNew } = await claim(notes, name, digest(identityOf(request)));
    if (note.answer) return replay(request.ctx, note.answer);
    // What cannot be kept is claimed until its time is over, and done under the same name by who comes then.
    const keep = (next: Note) => notes.write(name, JSON.stringify(next), revision).catch(() => undefined);
    let body: unknown;
    try {
      body = await work({ id: note.id, at: note.at });
    } catch (error) {
      const isRefused = error instanceof Failure && !isTransient(error) && error.code !== 'internal';
      // Who goes on for another does not know what that has done: the key stays with the request.
      await keep(isRefused && isNew ? null : { ...note, busyUntilMs: 0 });
      throw error;
    }
    await keep({ ...note, busyUntilMs: 0, answer: request.isSecret ? null : answerOf(request.ctx, body) });
    return body;
  };
}

const digest = (parts: unknown) => createHash('sha256').update(JSON.stringify(parts)).digest('hex');

const identityOf = ({ ctx, body }: Request) => [ctx.method, ctx.path, ctx.querystring, body ?? null];

type Held = { note: NonNullable<Note>; revision: number; isNew: boolean };

/** The note of a request that is answered, or now this one's to answer. Waits while another is at it. */
async function claim(notes: Registers, name: string, request: string): Promise<Held> {
  const untilMs = Date.now() + patienceMs;
  // Ever more rarely: many may wait for one.
  for (let waitMs = lookMs; ; waitMs = Math.min(waitMs * 2, lookMsMax)) {
    const found = await notes.read(name);
    const note = found ? Note.parse(JSON.parse(found.text)) : null;
    if (note && note.request !== request)
      throw new Failure('reused', 'this Idempotency-Key was used for another request; use a new one');
    if (note?.answer) return { note, revision: found?.revision ?? 0, isNew: false };
    const nowMs = Date.now();
    if (!note || note.busyUntilMs <= nowMs) {
      const { id, at } = note ?? { id: randomUUID(), at: new Date(nowMs).toISOString() };
      const own = { request, id, at, busyUntilMs: nowMs + busyMs, answer: null };
      const revision = await notes.write(name, JSON.stringify(own), found?.revision ?? 0).catch(undefinedAfterConflict);
      if (revision !== undefined) return { note: own, revision, isNew: !note };
    } else if (nowMs > untilMs)
      throw new Failure('conflict', 'a request with this Idempotency-Key is being worked on; ask again in a moment', {
        retryAfterMs: 1_000,
      });
    await delay(waitMs);
  }
}

function undefinedAfterConflict(error: unknown): undefined {
  if (!(error instanceof Failure && error.code === 'conflict')) throw error;
}

/** Null where it is too long to be kept: who asks again has it done again, under the same name. */
function answerOf(ctx: Context, body: unknown): NonNullable<Note>['answer'] {
  if (JSON.stringify(body ?? null).length > answerCharsMax) return null;
  const headers = told.flatMap((name) => (ctx.response.get(name) ? [[name, ctx.response.get(name)]] : []));
  return { status: ctx.status, headers: Object.fromEntries(headers), body: body ?? null };
}

function replay(ctx: Context, { status, headers, body }: NonNullable<NonNullable<Note>['answer']>): unknown {
  ctx.status = status;
  ctx.set({ ...headers, 'Idempotent-Replayed': 'true' });
  return body ?? undefined;
}
