import * as api from '#shared/contracts/api/tokens.ts';
import { Failure } from '#shared/errors.ts';
import type { Writer } from '#shared/event.ts';
import { newEvent } from '#shared/event.ts';
import { on } from '../auth.ts';
import { tokenIdOf } from '../revocations.ts';
import type { Route } from '../route.ts';
import { route } from '../route.ts';

/** Tokens that somebody should not have any more. Whose they are is not known here: who is limited to workstreams revokes none. */
export const tokenRoutes = (writer: Writer): Route[] => [
  route({
    ...api.revokeToken,
    async handle({ body: { jti, iss = null, reason = 'asked by the API' }, bus, caller, ctx }) {
      const id = tokenIdOf(iss, jti);
      const draft = { type: 'toka.token.revoked.v1', data: { jti, iss, reason } } as const;
      const event = newEvent(draft, `token/${id}`, on(writer, caller));
      const seq = await bus.append(event, 0).catch(async (error) => {
        // It was revoked before: once is enough.
        if (!(error instanceof Failure && error.code === 'conflict')) throw error;
        return (await bus.read('token', id)).at(-1)?.seq ?? 0;
      });
      ctx.set('Toka-Seq', String(seq));
    },
  }),
];
