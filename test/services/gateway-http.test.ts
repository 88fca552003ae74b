import test from 'ava';
import { startGateway } from '#test/helpers/gateway.ts';

test('OPTIONS says what a path takes, HEAD is as GET without a body, and a wrong method is told what goes', async (t) => {
  await using gateway = await startGateway();
  const { call } = gateway;
  const options = await call('OPTIONS', '/agents', undefined, { authorization: '' });
  t.is(options.status, 204);
  t.is(options.text, '');
  t.deepEqual(options.headers.get('allow')?.split(', ').toSorted(), ['GET', 'HEAD', 'OPTIONS', 'POST']);
  t.is((await call('OPTIONS', '/nothing')).status, 404);
  const [got, head] = [await call('GET', '/agents'), await call('HEAD', '/agents')];
  t.is(head.status, 200);
  t.is(head.text, '');
  t.is(head.headers.get('content-length'), got.headers.get('content-length'));
  const wrong = await call('DELETE', '/agents');
  t.is(wrong.status, 405);
  t.is(wrong.headers.get('allow'), options.headers.get('allow'));
});

test('every answer has a request id: the one that was sent, where it can stand in a log', async (t) => {
  await using gateway = await startGateway();
  const idOf = async (path: string, sent?: string) =>
    (await gateway.call('GET', path, undefined, sent ? { 'x-request-id': sent } : {})).headers.get('x-request-id');
  t.is(await idOf('/agents', 'req-1.a_B'), 'req-1.a_B');
  t.is(await idOf('/nothing', 'req-2'), 'req-2', 'an error has it, too');
  const made = await idOf('/agents');
  t.regex(made ?? '', /^[0-9a-f-]{36}$/);
  t.not(await idOf('/agents'), made);
  t.regex((await idOf('/agents', `${'x'.repeat(129)}`)) ?? '', /^[0-9a-f-]{36}$/);
  t.regex((await idOf('/agents', 'a b')) ?? '', /^[0-9a-f-]{36}$/);
});
