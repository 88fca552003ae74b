import { createHash, randomBytes } from 'node:crypto';
import { openBus } from '#shared/bus/bus.ts';
import type { KeyTerms } from '#shared/contracts/key.ts';
import { newEvent } from '#shared/event.ts';
import { newId } from '#shared/ids.ts';
import { openGate } from '#test/helpers/open-gate.ts';

const writer = { source: '/toka/bench/1', actor: 'service:bench' };

type Terms = { limits?: KeyTerms['limits']; budget?: KeyTerms['budget'] };

/** Puts a client key on the log that may use every model, without limit unless the terms say one, as the gateway does. Answers its secret. */
export async function mintKey(natsUrl: string, { limits = null, budget = null }: Terms = {}): Promise<string> {
  const options = { url: natsUrl, name: 'bench', leaseMs: 30_000, replicas: 1 };
  await using bus = await openBus(options, (error) => console.error(error));
  await openGate(bus); // there is no store
  const secret = `toka_${randomBytes(32).toString('base64url')}`;
  const data = {
    name: 'bench',
    hash: createHash('sha256').update(secret).digest('hex'),
    owner: 'bench',
    models: [],
    limits,
    budget,
    workstream: null,
    expiresAt: null,
  };
  await bus.append(newEvent({ type: 'toka.key.minted.v1', data }, `key/${newId('key')}`, writer));
  return secret;
}
