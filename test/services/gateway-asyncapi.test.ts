import test from 'ava';
import { z } from 'zod';
import { eventTypes } from '#shared/contracts/events.ts';
import { startGateway } from '#test/helpers/gateway.ts';

type Message = { payload: Parameters<typeof z.fromJSONSchema>[0] };

test('what is on NATS is documented: every event on its subject, every question with its answer, and no reference leads nowhere', async (t) => {
  await using gateway = await startGateway();
  const { json: document } = await gateway.call('GET', '/asyncapi.json', undefined, { authorization: '' });
  t.is(document.asyncapi, '3.0.0');
  for (const type of eventTypes) {
    const [, entity = ''] = type.split('.');
    const channel = document.channels[`events-${entity}`];
    t.is(channel.address, `toka.events.${entity}.{id}`);
    t.deepEqual(channel.messages[type], { $ref: `#/components/messages/${type}` });
  }
  const decisions = document.channels['events-decision'];
  t.is(decisions.address, 'toka.events.decision.{id}');
  t.truthy(decisions.messages['toka.run.approval-decided.v1']);
  t.truthy(decisions.messages['toka.run.queued.v1']);
  t.is(document.channels.listRuns.address, 'toka.store.query.runs');
  t.is(document.operations.listRuns.reply.channel.$ref, '#/channels/listRuns-reply');
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/((?:channels|components)\/[^"]+)"/g)];
  t.true(references.length > 100);
  for (const [, path = ''] of references) {
    const found = path.split('/').reduce((value, key) => value?.[key], document);
    t.truthy(found, path);
  }
});

test('events on the log are as they are documented', async (t) => {
  await using gateway = await startGateway();
  const { json } = await gateway.call('GET', '/asyncapi.json');
  const messages: Record<string, Message> = json.components.messages;
  const events = await gateway.bus.read('system', '*');
  t.true(events.length > 0);
  for (const { seq: _, ...event } of events) {
    const schema = z.fromJSONSchema(messages[event.type]?.payload ?? false);
    t.true(schema.safeParse(event).success, event.type);
    t.false(schema.safeParse({ ...event, data: {} }).success, 'data that lacks something does not fit');
  }
});
