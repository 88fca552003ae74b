import { setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import { limitLabel } from '#shared/label-limit.ts';
import { createMetrics, startAtZero } from '#shared/metrics.ts';
import { repeat } from '#shared/repeat.ts';

test('a label has so many values, and then "other"', (t) => {
  const label = limitLabel(2);
  t.deepEqual(['a', 'b', 'c', 'a', 'd', 'b'].map(label), ['a', 'b', 'other', 'a', 'other', 'b']);
  t.is(limitLabel(0)('a'), 'other');
});

test('agents beyond METRICS_AGENTS_MAX share a series', async (t) => {
  const metrics = createMetrics('agent-runner', 'test', 1);
  for (const id of ['one', 'two', 'three']) metrics.agentSteps.inc({ agent: metrics.agentLabel(id) });
  const text = await metrics.registry.metrics();
  t.regex(text, /toka_agent_steps_total\{agent="one",.*\} 1\n/);
  t.regex(text, /toka_agent_steps_total\{agent="other",.*\} 2\n/);
});

test('a service exports its own metrics, and none of the others', async (t) => {
  const exported = async (service: string) =>
    (await createMetrics(service, 'test', 1).registry.getMetricsAsJSON()).map(({ name }) => name);
  t.deepEqual(await exported('gateway'), [
    'toka_log_passed_over_total',
    'toka_http_requests_total',
    'toka_http_request_duration_seconds',
    'toka_sse_clients',
    'toka_webhooks',
    'toka_webhook_deliveries_total',
    'toka_webhook_delivery_duration_seconds',
    'toka_webhook_lag_seconds',
    'toka_webhooks_disabled_total',
  ]);
  t.true((await exported('llm-proxy')).includes('toka_redis_up'));
  t.false((await exported('scheduler')).includes('toka_redis_up'));
  t.true((await exported('store')).includes('toka_disk_free_bytes'));
});

test('names follow the conventions, and everything says what it is', async (t) => {
  for (const service of ['gateway', 'scheduler', 'agent-runner', 'llm-proxy', 'store'])
    for (const { name, help, type } of await createMetrics(service, 'test', 1).registry.getMetricsAsJSON()) {
      t.regex(name, /^(toka|llm|gen_ai_client)_[a-z]+(_[a-z]+)*$/);
      t.is(String(type) === 'counter', name.endsWith('_total'), name);
      t.true(help.length > 10, name);
      if (String(type) === 'histogram') t.regex(name, /_seconds$|^gen_ai_client_token_usage$/);
    }
});

test('what may never happen starts at zero', async (t) => {
  const metrics = createMetrics('scheduler', 'test', 1);
  startAtZero(metrics, 'scheduler');
  t.regex(await metrics.registry.metrics(), /toka_runs_ended_total\{status="failed",.*\} 0\n/);
});

test('repeated work does not overlap, outlives its failures, and ends with its stack', async (t) => {
  const stack = new AsyncDisposableStack();
  let begun = 0;
  let atOnce = 0;
  const failures: unknown[] = [];
  const work = async () => {
    begun += 1;
    atOnce += 1;
    await delay(25);
    t.is(atOnce, 1);
    atOnce -= 1;
    throw new Error('no');
  };
  repeat(stack, 5, work, (error) => failures.push(error));
  await delay(120);
  await stack.disposeAsync();
  const seen = begun;
  t.true(seen >= 2);
  await delay(40);
  t.is(begun, seen);
  t.is(failures.length, begun);
});
