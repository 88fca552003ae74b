import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

type Answer = (incoming: IncomingMessage, body: string, response: ServerResponse) => void;

const bodyBytesMax = 1_000_000;

/** A provider that answers with bytes of the test's own, to bodies of which it keeps the beginning; `environment` leads an llm-proxy to it. */
export async function startRaw(answer: Answer) {
  const server = createServer(async (incoming, response) => {
    const parts: Buffer[] = [];
    let size = 0;
    for await (const part of incoming) {
      size += part.length;
      if (size <= bodyBytesMax) parts.push(part);
    }
    answer(incoming, Buffer.concat(parts).toString(), response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    environment: { OPENAI_BASE_URL: `${url}/v1`, ANTHROPIC_BASE_URL: url },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
