import { StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { Failure } from '#shared/errors.ts';
import { createMeter } from './flood.ts';

const bodyBytesMax = 8 * 1024 ** 2;
const linesPerSecondMax = 5_000;
const retryMsMin = 1_000;
const retryMsMax = 30_000;
const newline = 0x0a;

export type HttpOptions = {
  url: string;
  headers: Record<string, string>;
  fetch: typeof globalThis.fetch;
  /** Hears why the server is not listened to any longer. */
  broken: (failure: Failure) => void;
};

/** Streamable HTTP with bounds: how much a server may answer, how fast, and how soon it is asked again. */
export function openHttp({ url, headers, fetch, broken }: HttpOptions): StreamableHTTPClientTransport {
  const limited = async (input: string | URL, init?: RequestInit): Promise<Response> => {
    const response = await fetch(input, init);
    if (!response.body) return response;
    const { status, statusText } = response;
    return new Response(response.body.pipeThrough(limit(broken)), { status, statusText, headers: response.headers });
  };
  return new StreamableHTTPClientTransport(new URL(url), {
    fetch: limited,
    requestInit: { headers },
    reconnectionOptions: {
      initialReconnectionDelay: retryMsMin,
      maxReconnectionDelay: retryMsMax,
      reconnectionDelayGrowFactor: 2,
      maxRetries: 2,
    },
    reconnectionScheduler(reconnect, delay) {
      const timer = setTimeout(reconnect, Math.min(Math.max(delay, retryMsMin), retryMsMax));
      timer.unref();
      return () => clearTimeout(timer);
    },
  });
}

function limit(broken: (failure: Failure) => void): TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>> {
  const mayGoOn = createMeter(linesPerSecondMax);
  let bytes = 0;
  const stop = (controller: TransformStreamDefaultController, what: string) => {
    const failure = new Failure('limited', `it ${what}`);
    controller.error(failure);
    broken(failure);
  };
  return new TransformStream({
    transform(chunk, controller) {
      bytes += chunk.byteLength;
      let lines = 0;
      for (let at = chunk.indexOf(newline); at >= 0; at = chunk.indexOf(newline, at + 1)) lines += 1;
      if (bytes > bodyBytesMax) stop(controller, `answers with more than ${bodyBytesMax} bytes`);
      else if (!mayGoOn(lines)) stop(controller, `says more than ${linesPerSecondMax} lines a second`);
      else controller.enqueue(chunk);
    },
  });
}
