import type { Context } from '#shared/service.ts';
import type { Config } from '../../config.ts';
import type { Call, Parts } from '../../model-call.ts';
import { createHandler } from './handle.ts';
import { listen } from './listen.ts';

/** Serves the clients of OpenAI's and Anthropic's APIs until the service stops; then finishes the calls at hand. Answers its port. */
export async function openHttp(context: Context<Config>, parts: Parts, giveUp: AbortSignal): Promise<number> {
  const { config, stack, stopping, logger } = context;
  const calls = new Set<Call>();
  giveUp.addEventListener('abort', () => {
    for (const { over } of calls) over.abort(giveUp.reason);
  });
  const graceMs = (config.SHUTDOWN_GRACE + 1) * 1_000;
  const handler = createHandler(parts, calls);
  const { LLM_PORT: port, LLM_HOST: host } = config;
  const server = await listen({ port, host, graceMs, requestMs: parts.requestMs }, handler);
  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= server[Symbol.asyncDispose]();
    return closing;
  };
  stopping.addEventListener('abort', () => void close());
  stack.defer(close);
  logger.info({ port: server.port }, 'serving model calls over HTTP');
  return server.port;
}
