import { ChatRequest } from '#shared/contracts/llm.ts';
import { Failure } from '#shared/errors.ts';
import type { Call, Parts, Run } from '../model-call.ts';
import { newTold } from '../stream-facts.ts';
import { eventsOf, fromAnswer, toChatRequest } from '../wires/contract/wire.ts';
import { complete } from './demo.ts';

/** Asks a provider that speaks our own contract. Throws `invalid` with each field that this cannot carry. */
export function runDemo({ maxOutputTokens }: Parts, call: Call): Run {
  const { route, key, stream } = call;
  const request = route.client.readRequest(call.body);
  const parsed = ChatRequest.safeParse({ ...toChatRequest(request), key: key.id });
  if (!parsed.success) {
    const problems = parsed.error.issues.map(({ path, message }) => ({ field: path.join('.'), message }));
    const text = problems.map(({ field, message }) => `${field}: ${message}`).join('; ');
    throw new Failure('invalid', `this request cannot be read: ${text}`, { problems });
  }
  const reply = { request, createdS: Math.floor(Date.now() / 1_000), keep: call.keepResponse };
  return async (_, marks) => {
    const outputMax = Math.min(parsed.data.maxOutputTokens ?? maxOutputTokens, maxOutputTokens);
    const completion = complete(parsed.data, outputMax);
    const { answer, usage } = completion;
    marks.took(usage);
    call.told = { ...newTold(), usage, model: completion.model, ended: true };
    const said = fromAnswer(answer, { id: call.id, model: completion.model, usage });
    const keep = answer.stopReason === 'end' || answer.stopReason === 'tool-calls';
    if (!stream)
      return {
        body: Buffer.from(JSON.stringify(route.client.writeAnswer(said, reply))),
        type: 'application/json',
        keep,
      };
    const writer = route.client.createEventWriter(reply);
    const text = [...eventsOf(said)].map((event) => writer.write(event)).join('') + writer.end();
    return { body: Buffer.from(text), type: 'text/event-stream', keep };
  };
}
