import test from 'ava';
import { newEvent } from '#shared/event.ts';
import { newId } from '#shared/ids.ts';
import { startReceiver } from '#test/helpers/receiver.ts';
import { startSystem, tokenOf } from '#test/helpers/system.ts';
import { inside } from '#test/helpers/webhooks.ts';

const writer = { source: '/toka/test/1', actor: 'service:test' };

test('the gateway that delivers is killed in the midst of it: another goes on, and nothing is missing or out of order', async (t) => {
  await using receiver = await startReceiver(() => ({ delayMs: 5 }));
  await using system = await startSystem({ agents: '', environment: { HTTP_RATE_LIMIT_REQUESTS: '0', ...inside } });
  const headers = { authorization: `Bearer ${await tokenOf('admin')}`, 'content-type': 'application/json' };
  const body = JSON.stringify({ url: receiver.url, types: ['toka.run.*'] });
  const made = await fetch(`${system.api}/webhooks`, { method: 'POST', headers, body });
  t.is(made.status, 201, await made.text());
  await system.another('gateway', { PORT: '0', MANAGEMENT_PORT: '0' });

  const told = Array.from({ length: 300 }, (_, index) => String(index + 1));
  const telling = (async () => {
    for (const reason of told) {
      const draft = { type: 'toka.run.dispatched.v1', data: { reason } } as const;
      await system.bus.append(newEvent(draft, `run/${newId('run')}`, writer));
    }
  })();
  await receiver.got(50);
  await system.kill('gateway');
  await telling;
  await receiver.got(300);
  const firsts = () => [...new Set(receiver.reasons())];
  for (let count = receiver.all.length; firsts().length < 300; count++) await receiver.got(count + 1);
  t.deepEqual(firsts(), told);
  t.log(`${receiver.all.length - 300} came twice`);
  t.true(receiver.all.length < 600);
});
