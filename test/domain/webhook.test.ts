import { randomBytes } from 'node:crypto';
import test from 'ava';
import fc from 'fast-check';
import type { WebhookEvent } from '#shared/contracts/events.ts';
import type { Webhook, WebhookCommand } from '#shared/domain/webhook.ts';
import { decide, evolve, webhookView } from '#shared/domain/webhook.ts';
import { scrub } from '#shared/secrets.ts';
import { recorded } from '#test/helpers/events.ts';
import { delivered, failed, goOnFrom, isGivenUp, waitMsAfter } from '../../services/gateway/webhooks/progress.ts';
import { createSeal } from '../../services/gateway/webhooks/seal.ts';
import { newWebhookSecret } from '../../services/gateway/webhooks/sign.ts';

const terms = { url: 'https://example.com/', types: [], agent: null, workstream: null };
const create: WebhookCommand = { type: 'create', terms, sealed: 'sealed', owner: 'ann' };

/** What is left of a webhook after these commands, each on an event of its own. */
function after(...commands: WebhookCommand[]): { webhook: Webhook | undefined; counts: number[] } {
  let webhook: Webhook | undefined;
  let seq = 0;
  const counts = commands.map((command) => {
    const events = recorded('webhook/whk_1', decide(webhook, command), seq + 1);
    seq += events.length;
    for (const event of events) webhook = evolve(webhook, event as typeof event & WebhookEvent);
    return events.length;
  });
  return { webhook, counts };
}

test('a webhook is made once, disabled and enabled, deleted for good; repeating a command adds nothing', (t) => {
  const disable: WebhookCommand = { type: 'disable', reason: 'gone' };
  const enable: WebhookCommand = { type: 'enable', reason: 'mended', skip: false };
  const remove: WebhookCommand = { type: 'delete', reason: 'old' };
  t.deepEqual(
    after(create, disable, disable, enable, enable, remove, remove, disable).counts,
    [1, 1, 0, 1, 0, 1, 0, 0],
  );
  t.like(after(create, disable).webhook, { state: 'disabled', disabled: { reason: 'gone' }, after: 1 });
  t.like(after(create, disable, enable).webhook, { state: 'active', disabled: null, after: 1 });
  t.like(after(create, disable, { ...enable, skip: true }).webhook, { state: 'active', after: 3 });
  t.throws(() => after(create, create), { message: /made whk_1 already/ });
  t.throws(() => after(create, remove, create), { message: /made whk_1 already/ });
  t.throws(() => after(create, remove, enable), { code: 'not-found' } as object);
  t.throws(() => after(enable), { code: 'not-found' } as object);
  const { webhook } = after(create);
  t.false(webhook && 'sealed' in webhookView(webhook));
});

test('it goes on from where it was, from what is skipped on, and forgets failures from before it was enabled', (t) => {
  const { webhook } = after(create);
  if (!webhook) return t.fail();
  t.deepEqual(goOnFrom(undefined, webhook), delivered(1));
  t.deepEqual(goOnFrom({ seq: 'x' }, webhook), delivered(1));
  t.deepEqual(goOnFrom(delivered(7), webhook), delivered(7));
  t.deepEqual(goOnFrom(delivered(7), { ...webhook, after: 9 }), delivered(9));
  const failing = failed(failed(delivered(7), 'a', Date.UTC(2027, 0)), 'b', Date.UTC(2027, 1));
  t.deepEqual(failing, { seq: 7, failures: 2, failingSince: '2027-01-01T00:00:00.000Z', lastFailure: 'b' });
  t.deepEqual(goOnFrom(failing, webhook), failing);
  t.deepEqual(goOnFrom(failing, { ...webhook, activeAt: '2027-03-01T00:00:00.000Z' }), delivered(7));
});

test('tries come further and further apart within their bounds, and it is given up after so many over so long', (t) => {
  const patience = { backoffMs: 100, backoffMsMax: 5_000, failuresMax: 3, failingMsMax: 60_000 };
  fc.assert(
    fc.property(
      fc.nat(2_000),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      fc.nat(10_000),
      (failures, random, least) => {
        const wait = waitMsAfter({ failures }, patience, { random, retryAfterMs: least });
        return wait >= least && wait >= 50 && wait <= Math.max(least, 5_000);
      },
    ),
  );
  t.is(waitMsAfter({ failures: 3 }, patience, { random: 0 }), 200);
  const startMs = Date.UTC(2027, 0);
  const times = (count: number) =>
    Array.from({ length: count }).reduce<ReturnType<typeof delivered>>((at) => failed(at, 'x', startMs), delivered(1));
  t.false(isGivenUp(times(2), patience, startMs + 100_000));
  t.false(isGivenUp(times(3), patience, startMs + 59_999));
  t.true(isGivenUp(times(3), patience, startMs + 60_000));
  t.false(isGivenUp(delivered(1), { ...patience, failuresMax: 0 }, startMs));
});

test('a sealed secret opens with the same JWT_SECRET for its own webhook alone, and shows in no log', (t) => {
  const seal = createSeal(['a']);
  const secret = newWebhookSecret();
  const sealed = seal.close('whk_1', secret);
  t.is(createSeal(['a']).open('whk_1', sealed), secret);
  t.not(seal.close('whk_1', secret), sealed);
  const bytes = Buffer.from(sealed, 'base64url');
  for (const at of bytes.keys()) {
    const changed = Buffer.from(bytes);
    changed[at] = (changed[at] ?? 0) ^ 1;
    t.throws(() => seal.open('whk_1', changed.toString('base64url')), { message: /cannot be opened/ });
  }
  for (const bad of ['', 'x', sealed.slice(0, 20), randomBytes(60).toString('base64url')])
    t.throws(() => seal.open('whk_1', bad), { message: /cannot be opened/ });
  t.throws(() => seal.open('whk_2', sealed), { message: /JWT_SECRET/ });
  t.throws(() => createSeal(['b']).open('whk_1', sealed), { message: /JWT_SECRET/ });
  const both = createSeal(['b', 'a']);
  t.is(both.open('whk_1', sealed), secret, 'what the one before has sealed');
  const renewed = both.renew('whk_1', sealed) ?? '';
  t.is(createSeal(['b']).open('whk_1', renewed), secret);
  t.is(both.renew('whk_1', renewed), undefined);
  t.is(both.renew('whk_2', sealed), undefined);
  t.is(seal.renew('whk_1', sealed), undefined);
  t.is(scrub(`the secret is "${secret}".`), 'the secret is "[secret]".');
});
