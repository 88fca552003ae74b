import type { ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import { z } from 'zod';
import { toWireError } from '../../services/llm-proxy/wires/errors.ts';
import type { ClientWire, Reply, UpstreamWire } from '../../services/llm-proxy/wires/pivot.ts';
import { createSseParser } from '../../services/llm-proxy/wires/sse.ts';
import { anthropic, openAiChat, openAiResponses } from '../../services/llm-proxy/wires/wires.ts';

const clients = new Map<string | undefined, ClientWire>([
  ['/v1/chat/completions', openAiChat],
  ['/v1/responses', openAiResponses],
  ['/v1/messages', anthropic],
]);

type Target = { wire: UpstreamWire; url: string };

/** A server that takes every client's wire, asks one provider by its own, and does nothing but translate. */
export async function startTranslator({ wire, url }: Target) {
  const server = createServer(async (incoming, response) => {
    const client = clients.get(incoming.url);
    if (!client) return void response.writeHead(404).end();
    try {
      const chunks: Buffer[] = [];
      for await (const chunk of incoming) chunks.push(chunk);
      const body = z.record(z.string(), z.unknown()).parse(JSON.parse(Buffer.concat(chunks).toString()));
      const request = client.readRequest(body);
      const reply = { request, model: 'target', createdS: 1_700_000_000 };
      const written = wire.writeRequest(request, { model: 'target', maxTokensDefault: 1_000 });
      const path = wire.name === 'anthropic' ? '/v1/messages' : '/v1/chat/completions';
      const answer = await fetch(url + path, { method: 'POST', body: JSON.stringify(written) });
      if (request.stream) return await pass(answer, response, client, wire, reply);
      const whole = client.writeAnswer(wire.readAnswer(await answer.json()), reply);
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(whole));
    } catch (thrown) {
      const error = toWireError(thrown);
      response.writeHead(error.status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(client.writeError(error)));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (typeof address !== 'object' || !address) throw new Error('no port');
  return {
    url: `http://127.0.0.1:${address.port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function pass(answer: Response, response: ServerResponse, client: ClientWire, wire: UpstreamWire, reply: Reply) {
  const parser = createSseParser();
  const reader = wire.createEventReader();
  const writer = client.createEventWriter(reply);
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  try {
    for await (const chunk of answer.body ?? []) {
      for (const event of parser.push(Buffer.from(chunk))) {
        for (const each of reader.read(event)) response.write(writer.write(each));
      }
    }
  } catch {
    // The connection broke: what the reader says of that is told below.
  }
  for (const each of reader.end()) response.write(writer.write(each));
  response.end(writer.end());
}
