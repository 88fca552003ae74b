import { commandKey, foldKey } from '#shared/command.ts';
import * as api from '#shared/contracts/api/keys.ts';
import { listKeys } from '#shared/contracts/store.ts';
import type { Key } from '#shared/domain/key.ts';
import { keyView } from '#shared/domain/key.ts';
import { Failure } from '#shared/errors.ts';
import type { Writer } from '#shared/event.ts';
import { idFor, newId } from '#shared/ids.ts';
import { hashOfSecret, newKeySecret } from '#shared/secrets.ts';
import { on } from '../auth.ts';
import type { Route } from '../route.ts';
import { route } from '../route.ts';
import type { TenantBus } from '../tenant-bus.ts';

/** Client keys of the llm-proxy: minted, shown, revoked. */
export const keyRoutes = (writer: Writer): Route[] => [
  route({
    ...api.mintKey,
    async handle({ body: terms, bus, caller, ctx, once }) {
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
    ...api.listKeys,
    handle: ({ query, bus }) => bus.ask(listKeys, query),
  }),
  route({
    ...api.getKey,
    handle: async ({ params: { id }, bus }) => keyView(await readKey(bus, id), Date.now()),
  }),
  route({
    ...api.revokeKey,
    async handle({ params: { id }, bus, caller, ctx }) {
      const { seq } = await commandKey(bus, id, { type: 'revoke', reason: 'asked by the API' }, on(writer, caller));
      ctx.set('Toka-Seq', String(seq));
    },
  }),
];

/** A key straight from the log, so that one reads what one has just written. */
async function readKey(bus: TenantBus, id: string): Promise<Key> {
  const key = foldKey(await bus.read('key', id));
  if (!key) throw new Failure('not-found', `there is no key "${id}"`);
  return key;
}
