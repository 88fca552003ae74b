import { chat } from '#shared/contracts/llm.ts';
import { Failure } from '#shared/errors.ts';
import type { Context } from '#shared/service.ts';
import { runService } from '#shared/service.ts';
import { createBreaker } from './breaker.ts';
import { createAnswers } from './cache/answers.ts';
import type { Caller } from './call.ts';
import { call } from './call.ts';
import { chooseProvider } from './choose.ts';
import { createChunks } from './chunks.ts';
import { Config } from './config.ts';
import { openContexts } from './context/contexts.ts';
import { logCall } from './debug.ts';
import { readModels } from './models.ts';
import { openRateLimit } from './rate-limit.ts';
import { appendToLedger, createCounter } from './record.ts';
import { openRedis } from './redis.ts';
import { watchRedis } from './watch-redis.ts';

/** The proxy: every model call goes through cache, limit and provider, into the ledger, and back to who asked. */
export async function start(context: Context<Config>) {
  const { bus, config, logger, metrics, stack, writer } = context;
  const models = readModels(config.MODELS_FILE);
  const { provider, baseUrl } = chooseProvider(config);
  const redis = stack.adopt(await openRedis(config.REDIS_URL, config.REDIS_PASSWORD, logger), (open) =>
    open.disconnect(),
  );
  const limit = stack.use(await openRateLimit(redis, config.RATE_LIMIT_REQUESTS, config.RATE_LIMIT_WINDOW, metrics));
  context.check('redis', async () => ((await redis.ping()) === 'PONG' ? 'ok' : 'no answer'));

  const answersOptions = { size: config.RESPONSE_CACHE_SIZE, ttlS: config.RESPONSE_CACHE_TTL };
  const caller: Caller = {
    provider,
    baseUrl,
    models,
    answers: config.RESPONSE_CACHE_ENABLED
      ? stack.use(createAnswers(redis, answersOptions, logger, metrics))
      : undefined,
    limit,
    breaker: createBreaker(provider.name, metrics),
    defaultModel: config.LLM_MODEL ?? provider.defaultModel,
    maxOutputTokens: config.LLM_MAX_OUTPUT_TOKENS,
    timeoutMs: config.LLM_TIMEOUT * 1_000,
    giveUp: whenOver(context),
  };
  const contextOptions = { size: config.CONTEXT_CACHE_SIZE, ttlS: config.CONTEXT_CACHE_TTL };
  const contexts = openContexts(redis, contextOptions, logger, metrics);
  watchRedis(stack, redis, metrics);
  const count = createCounter(metrics);
  metrics.llmConcurrency.set(config.LLM_CONCURRENCY);
  let active = 0;
  bus.answer(chat, async (asked, sendChunk) => {
    if (active >= config.LLM_CONCURRENCY) {
      const busy = `LLM_CONCURRENCY is reached: ${config.LLM_CONCURRENCY} model calls at a time`;
      throw new Failure('limited', busy, { retryAfterMs: 1_000 });
    }
    metrics.llmActive.set(++active);
    try {
      const { request, remember } = await contexts.resolve(asked);
      using chunks = createChunks(sendChunk);
      const [outcome] = await Promise.all([call(caller, request, request.stream ? chunks.add : undefined), remember()]);
      count(request, outcome);
      if (config.LLM_DEBUG) logCall(logger, request, outcome);
      await appendToLedger(bus, writer, logger, request, outcome);
      if (!outcome.response) throw outcome.failure;
      return outcome.response;
    } finally {
      metrics.llmActive.set(--active);
    }
  });
  if (provider.name === 'demo') logger.warn('LLM_PROVIDER=demo: answers come from simple rules, not from a model');
}

/** Calls at hand may go on for SHUTDOWN_GRACE seconds after the service was told to stop. */
function whenOver({ config, stopping, stack }: Context<Config>): AbortSignal {
  const over = new AbortController();
  let grace: NodeJS.Timeout | undefined;
  const failure = new Failure('unavailable', 'llm-proxy is stopping; ask again', { retryAfterMs: 500 });
  stopping.addEventListener('abort', () => {
    grace = setTimeout(() => over.abort(failure), config.SHUTDOWN_GRACE * 1_000);
  });
  stack.defer(() => clearTimeout(grace));
  return over.signal;
}

if (import.meta.main) await runService('llm-proxy', Config, start);
