import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { z } from 'zod';
import { turns } from './script.ts';
import type { ServerAlike } from './servers.ts';

const Body = z.looseObject({
  stream: z.boolean().default(false),
  messages: z.array(
    z.looseObject({
      role: z.string(),
      content: z.unknown().optional(),
      reasoning_content: z.unknown().optional(),
      tool_call_id: z.string().optional(),
      tool_calls: z
        .array(z.looseObject({ id: z.string(), function: z.looseObject({ name: z.string(), arguments: z.string() }) }))
        .optional(),
    }),
  ),
});
type Messages = z.infer<typeof Body>['messages'];

/** The server on loopback, as a model that makes the five calls. What is no conversation, and what it refuses, is a 400. */
export async function startServerAlike(kind: ServerAlike, { refuses = true }: { refuses?: boolean } = {}) {
  const conversations: Messages[] = [];
  const server = createServer(async (incoming, response) => {
    const parts: Buffer[] = [];
    for await (const part of incoming) parts.push(part);
    const fail = (status: number, message: string) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ error: { message } }));
    if (incoming.url !== '/v1/chat/completions') return void fail(404, `there is no ${incoming.url}`);
    const { stream, messages } = Body.parse(JSON.parse(Buffer.concat(parts).toString()));
    const wrong = unanswered(messages) ?? (refuses ? kind.refusal(messages) : undefined);
    if (wrong !== undefined) return void fail(400, wrong);
    conversations.push(messages);
    const turn = turns[messages.filter(({ role }) => role === 'assistant').length];
    if (!turn) return void fail(400, 'the conversation is over');
    response.writeHead(200, { 'content-type': stream ? 'text/event-stream' : 'application/json' });
    response.end(stream ? kind.stream(turn) : JSON.stringify(kind.whole(turn)));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    environment: { OPENAI_BASE_URL: `${url}/v1` },
    conversations,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Each call has its one result, right behind it, and there is no other. */
function unanswered(messages: Messages): string | undefined {
  const open = new Set<string>();
  for (const { role, tool_call_id = '', tool_calls = [] } of messages) {
    if (role === 'tool' && !open.delete(tool_call_id)) return `there is no call ${tool_call_id}`;
    if (role !== 'tool' && open.size > 0) return `no result of ${[...open].join()}`;
    for (const { id } of tool_calls) {
      if (id === '' || open.has(id)) return `the id "${id}" is there twice, or is none`;
      open.add(id);
    }
  }
  return open.size > 0 ? `no result of ${[...open].join()}` : undefined;
}
