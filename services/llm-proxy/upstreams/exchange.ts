import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher } from 'undici';

/** Who takes an answer. What it throws ends the exchange. */
export type Receiver = {
  /** `resume` is for after `data` said false. */
  start(status: number, headers: IncomingHttpHeaders, resume: () => void): void;
  /** False: nothing more until `resume`. */
  data(chunk: Buffer): boolean;
};

type Asked = {
  origin: string;
  path: string;
  headers: Record<string, string>;
  body: Buffer;
};

/**
 * One HTTP request to a provider, its answer handed over as it comes. Rejects with the reason of `signal`, with what the
 * receiver threw, or with what broke the connection; the request is then over.
 */
export function exchange(dispatcher: Dispatcher, asked: Asked, receiver: Receiver, signal: AbortSignal): Promise<void> {
  const { origin, path, headers, body } = asked;
  return new Promise((resolve, reject) => {
    let upstream: Dispatcher.DispatchController | undefined;
    let reason: Error | undefined;
    const settle = () => signal.removeEventListener('abort', leave);
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
    const options = { origin, method: 'POST' as const, path, headers, body, headersTimeout: 0, bodyTimeout: 0 };
    dispatcher.dispatch(options, {
      onRequestStart(controller) {
        upstream = controller;
        if (reason) controller.abort(reason);
      },
      onResponseStart(_, status, answered) {
        if (status < 200 || reason) return;
        try {
          receiver.start(status, answered, resume);
        } catch (error) {
          stop(error);
        }
      },
      onResponseData(controller, chunk) {
        if (reason) return;
        try {
          if (!receiver.data(chunk)) controller.pause();
        } catch (error) {
          stop(error);
        }
      },
      onResponseEnd() {
        settle();
        resolve();
      },
      onResponseError(_, error) {
        settle();
        reject(reason ?? error);
      },
    });
  });
}
