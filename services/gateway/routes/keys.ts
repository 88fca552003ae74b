import { z } from 'zod';
import type { Bus } from '#shared/bus/bus.ts';
import { commandKey, foldKey } from '#shared/command.ts';
import { KeyId } from '#shared/contracts/ids.ts';
import { KeyTerms } from '#shared/contracts/key.ts';
import { KeyView, listKeys } from '#shared/contracts/store.ts';
import type { Key } from '#shared/domain/key.ts';
import { keyView } from '#shared/domain/key.ts';
import { Failure } from '#shared/errors.ts';
import type { Writer } from '#shared/event.ts';
import { idFor, newId } from '#shared/ids.ts';
import { hashOfSecret, newKeySecret } from '#shared/secrets.ts';
import { on } from '../auth.ts';
import { bodyOf } from '../input.ts';
import { historyQuery, pageOf, seqQuery } from '../paging.ts';
import type { Route } from '../route.ts';
import { route } from '../route.ts';

const params = z.object({ id: KeyId });
const MintedKey = KeyView.extend({
  secret: z.string().describe('What the llm-proxy takes as API key. It is shown here only, and kept nowhere.'),
});

/** Client keys of the llm-proxy: minted, shown, revoked. */
export const keyRoutes = (bus: Bus, writer: Writer): Route[] => [
  route({
    method: 'post',
    path: '/llm/keys',
    scope: 'admin',
    summary:
      'Mint a client key; its secret is in this answer alone, so a second request with the same Idempotency-Key gets 409 and the id',
    body: bodyOf(KeyTerms),
    isSecret: true,
    status: 201,
    answer: MintedKey,
    async handle({ body: terms, caller, ctx, once }) {
      const { sub: owner } = caller;
      const id = once ? idFor('key', once.at, 'once', once.id) : newId('key');
      const secret = newKeySecret();
      const nowMs = Date.now();
      const command = { type: 'mint', terms, hash: hashOfSecret(secret), owner, nowMs } as const;
      const { seq } = await commandKey(bus, id, command, on(writer, caller));
      ctx.set({ Location: `/llm/keys/${id}`, 'Toka-Seq': String(seq) });
      return { ...keyView(await readKey(bus, id), nowMs), secret };
    },
  }),
  route({
    method: 'get',
    path: '/llm/keys',
    scope: 'admin',
    summary: 'List client keys, the newest first',
    query: historyQuery,
    answer: pageOf(KeyView),
    handle: ({ query }) => bus.ask(listKeys, query),
  }),
  route({
    method: 'get',
    path: '/llm/keys/:id',
    scope: 'admin',
    summary: 'Read a client key',
    params,
    // Read from the log, it holds every write anyway.
    query: seqQuery,
    answer: KeyView,
    handle: async ({ params: { id } }) => keyView(await readKey(bus, id), Date.now()),
  }),
  route({
    method: 'delete',
    path: '/llm/keys/:id',
    scope: 'admin',
    summary: 'Revoke a client key; what it did stays in the ledger',
    params,
    status: 204,
    answer: null,
    async handle({ params: { id }, caller, ctx }) {
      const { seq } = await commandKey(bus, id, { type: 'revoke', reason: 'asked by the API' }, on(writer, caller));
      ctx.set('Toka-Seq', String(seq));
    },
  }),
];

/** A key straight from the log, so that one reads what one has just written. */
async function readKey(bus: Bus, id: string): Promise<Key> {
  const key = foldKey(await bus.read('key', id));
  if (!key) throw new Failure('not-found', `there is no key "${id}"`);
  return key;
}
