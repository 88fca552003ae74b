import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher } from 'undici';

/** Who takes an answer. What it throws ends the exchange. */
export type Receiver = {
  /** `resume` is for after `data` said false; `stop` ends the exchange with what was thrown later. */
  start(status: number, headers: IncomingHttpHeaders, resume: () => void, stop: (thrown: unknown) => void): void;
  /** False: nothing more until `resume`. */
  data(chunk: Buffer): boolean;
  /** All has come. Undefined: and has been taken. */
  end(): Promise<void> | undefined;
  /** Nothing more comes, whatever became of it. */
  close(): void;
};

type Asked = {
  origin: string;
  path: string;
  headers: Record<string, string>;
  body: Buffer;
};

const redirectsMax = 3;

/**
 * One HTTP request to a provider, its answer handed over as it comes. Rejects with the reason of `signal`, with what the
 * receiver threw, or with what broke the connection; the request is then over. A redirect that keeps the request as it is, and
 * leads nowhere else with its key, is followed.
 */
export function exchange(dispatcher: Dispatcher, asked: Asked, receiver: Receiver, signal: AbortSignal): Promise<void> {
  const { origin, headers, body } = asked;
  let redirects = 0;
  return new Promise((resolve, reject) => {
    let upstream: Dispatcher.DispatchController | undefined;
    let reason: Error | undefined;
    let next: string | undefined;
    const settle = () => {
      signal.removeEventListener('abort', leave);
      receiver.close();
    };
    const stop = (thrown: unknown) => {
      reason ??= thrown instanceof Error ? thrown : new Error(String(thrown));
      settle();
      reject(reason);
      upstream?.abort(reason);
    };
    const leave = () => stop(signal.reason);
    signal.addEventListener('abort', leave);
    if (signal.aborted) return leave();
    const resume = () => {
      if (upstream?.paused) upstream.resume();
    };
    const done = () => {
      settle();
      resolve();
    };
    const send = (path: string) => {
      const options = { origin, method: 'POST' as const, path, headers, body, headersTimeout: 0, bodyTimeout: 0 };
      dispatcher.dispatch(options, handler);
    };
    const handler: Dispatcher.DispatchHandler = {
      onRequestStart(controller) {
        upstream = controller;
        if (reason) controller.abort(reason);
      },
      onResponseStart(_, status, answered) {
        if (status < 200 || reason) return;
        next = redirects < redirectsMax ? pathBehind(status, answered.location, origin, asked.path) : undefined;
        if (next !== undefined) return;
        try {
          receiver.start(status, answered, resume, stop);
        } catch (error) {
          stop(error);
        }
      },
      onResponseData(controller, chunk) {
        if (reason || next !== undefined) return;
        try {
          if (!receiver.data(chunk)) controller.pause();
        } catch (error) {
          stop(error);
        }
      },
      onResponseEnd() {
        if (reason) return;
        if (next !== undefined) {
          redirects++;
          return send(next);
        }
        const rest = receiver.end();
        if (rest) rest.then(done, stop);
        else done();
      },
      onResponseError(_, error) {
        settle();
        reject(reason ?? error);
      },
    };
    send(asked.path);
  });
}

/** Where a redirect leads that the same request may follow (RFC 9110, sections 15.4.8 and 15.4.9): to a path of the same origin. */
function pathBehind(
  status: number,
  location: string | string[] | undefined,
  origin: string,
  from: string,
): string | undefined {
  if ((status !== 307 && status !== 308) || typeof location !== 'string' || !URL.canParse(location, origin + from))
    return undefined;
  const url = new URL(location, origin + from);
  return url.origin === origin ? url.pathname + url.search : undefined;
}
