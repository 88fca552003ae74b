import { z } from 'zod';
import type { EventType } from '#shared/contracts/events.ts';
import { decisionTypes, Envelope, eventData, eventTypes } from '#shared/contracts/events.ts';
import * as llm from '#shared/contracts/llm.ts';
import * as scheduling from '#shared/contracts/scheduling.ts';
import * as store from '#shared/contracts/store.ts';
import type { Entity } from '#shared/contracts/subjects.ts';
import { entitySubject } from '#shared/contracts/subjects.ts';
import { version } from '#shared/version.ts';
import type { Route } from './route.ts';
import { route } from './route.ts';

/** The route that documents what is on NATS. */
export function asyncApiRoute(): Route {
  const document = asyncApi();
  return route({
    method: 'get',
    path: '/asyncapi.json',
    scope: null,
    summary: 'The events and questions on NATS as AsyncAPI 3.0',
    answer: z.looseObject({}),
    handle: () => document,
  });
}

/** Subjects, events and questions as an AsyncAPI 3.0 document, from the schemas that check them. */
function asyncApi() {
  const byEntity = Map.groupBy(eventTypes, (type) => type.split('.')[1] as Entity);
  const entities = [...byEntity, ['decision' as const, decisionTypes] as const];
  const questions = Object.entries({ ...store, ...scheduling, ...llm }).flatMap(([name, contract]) =>
    'subject' in contract && 'input' in contract ? [{ name, ...contract }] : [],
  );
  return {
    asyncapi: '3.0.0',
    info: { title: 'Toka', version, license: { name: 'Apache-2.0' } },
    defaultContentType: 'application/json',
    servers: { nats: { host: 'localhost:4222', protocol: 'nats', description: 'NATS_URL' } },
    channels: Object.fromEntries([
      ...entities.map(([entity, types]) => [`events-${entity}`, eventChannel(entity, types)]),
      ...questions.flatMap(({ name, subject }) => [
        [name, { address: subject, messages: { question: ref('messages', `${name}-question`) } }],
        [`${name}-reply`, { address: null, messages: { answer: ref('messages', `${name}-answer`) } }],
      ]),
    ]),
    operations: Object.fromEntries([
      ...entities.map(([entity]) => [
        `publish-${entity}-events`,
        { action: 'send', channel: channel(`events-${entity}`) },
      ]),
      ...questions.map(({ name }) => [name, answering(name)]),
    ]),
    components: {
      messages: Object.fromEntries([
        ...eventTypes.map((type) => [type, eventMessage(type)]),
        ...questions.flatMap(({ name, input, output }) => [
          [`${name}-question`, { payload: schemaOf(input, 'input') }],
          [`${name}-answer`, { payload: schemaOf(output, 'output') }],
        ]),
      ]),
    },
  };
}

const ref = (kind: string, name: string) => ({ $ref: `#/components/${kind}/${name}` });
const channel = (name: string) => ({ $ref: `#/channels/${name}` });

const eventChannel = (entity: Entity, types: readonly EventType[]) => ({
  address: entitySubject(entity, '{id}'),
  description: 'In the stream EVENTS: follow it with a consumer for a history without gaps.',
  parameters: {
    id: { description: `Of the ${entity === 'decision' ? 'run that a person has said something of' : entity}` },
  },
  messages: Object.fromEntries(types.map((type) => [type, ref('messages', type)])),
});

const eventMessage = (type: EventType) => ({
  name: type,
  contentType: 'application/cloudevents+json',
  payload: schemaOf(Envelope.extend({ type: z.literal(type), data: eventData[type] }), 'output'),
});

const answering = (name: string) => ({
  action: 'receive',
  channel: channel(name),
  reply: { address: { location: '$message.header#/reply' }, channel: channel(`${name}-reply`) },
});

/** A zod schema as JSON Schema 2020-12. */
function schemaOf(schema: z.core.$ZodType, io: 'input' | 'output') {
  const { $schema: _, ...json } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  return json;
}
