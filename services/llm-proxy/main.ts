import type { Redis } from 'ioredis';
import { chat } from '#shared/contracts/llm.ts';
import { Failure } from '#shared/errors.ts';
import type { Context } from '#shared/service.ts';
import { runService } from '#shared/service.ts';
import { createBreaker } from './breaker.ts';
import { createAnswers } from './cache/answers.ts';
import type { Caller } from './call.ts';
import { call } from './call.ts';
import { chooseProvider, providerOf } from './choose.ts';
import { createChunks } from './chunks.ts';
import { Config } from './config.ts';
import { openContexts } from './context/contexts.ts';
import { logCall } from './debug.ts';
import { openHttp } from './http/open.ts';
import { openTargets } from './http/targets.ts';
import { openKeys } from './keys/keys.ts';
import { readModels } from './models.ts';
import { createDemo } from './providers/demo.ts';
import { openRateLimit } from './rate-limit.ts';
import { appendToLedger, countForAgent, createCounter } from './record.ts';
import { openRedis } from './redis.ts';
import type { Slots } from './slots.ts';
import { createSlots } from './slots.ts';
import { watchRedis } from './watch-redis.ts';

/** The proxy: every model call goes through cache, limit and provider, into the ledger, and back to who asked. */
export async function start(context: Context<Config>): Promise<void> {
  await open(context);
}

/** Opens the proxy. Answers the port on which it serves clients of OpenAI's and Anthropic's APIs. */
export async function open(context: Context<Config>): Promise<number> {
  const { bus, config, logger, metrics, stack, writer } = context;
  const models = readModels(config.MODELS_FILE);
  const { provider, baseUrl } = chooseProvider(config);
  const redis = stack.adopt(await openRedis(config.REDIS_URL, config.REDIS_PASSWORD, logger), (client) =>
    client.disconnect(),
  );
  const limit = stack.use(await openRateLimit(redis, config.RATE_LIMIT_REQUESTS, config.RATE_LIMIT_WINDOW, metrics));
  context.check('redis', async () => ((await redis.ping()) === 'PONG' ? 'ok' : 'no answer'));
  const keys = stack.use(await openKeys(bus, logger));
  context.check('keys', keys.state);

  const answersOptions = { size: config.RESPONSE_CACHE_SIZE, ttlS: config.RESPONSE_CACHE_TTL };
  const answers = config.RESPONSE_CACHE_ENABLED
    ? stack.use(createAnswers(redis, answersOptions, logger, metrics))
    : undefined;
  const breakers = {
    anthropic: createBreaker('anthropic', metrics),
    openai: createBreaker('openai', metrics),
    demo: createBreaker('demo', metrics),
  };
  const giveUp = whenOver(context);
  const timeoutMs = config.LLM_TIMEOUT * 1_000;
  const maxOutputTokens = config.LLM_MAX_OUTPUT_TOKENS;
  const caller: Caller = {
    ...{ provider, baseUrl, models, answers, limit, maxOutputTokens, timeoutMs, giveUp },
    breaker: breakers[providerOf(config)],
    defaultModel: config.LLM_MODEL ?? provider.defaultModel,
  };
  const slots = createSlots(config.LLM_CONCURRENCY, metrics);
  const count = createCounter(metrics);
  watchRedis(stack, redis, metrics);
  answerCalls(context, caller, slots, count, redis);
  if (provider.name === 'demo') logger.warn('LLM_PROVIDER=demo: answers come from simple rules, not from a model');

  const viaProxy = context.secret('NODE_USE_ENV_PROXY') === '1';
  const targets = stack.use(openTargets({ config, models, configured: providerOf(config), breakers, viaProxy }));
  const shared = {
    bus,
    writer,
    logger,
    keys,
    models,
    targets,
    answers,
    limit,
    slots,
    count,
    maxOutputTokens,
    timeoutMs,
  };
  return openHttp(context, { ...shared, demo: createDemo() }, giveUp);
}

/** Answers the calls that come over NATS. */
function answerCalls(
  { bus, config, logger, metrics, writer }: Context<Config>,
  caller: Caller,
  slots: Slots,
  count: ReturnType<typeof createCounter>,
  redis: Redis,
): void {
  const contextOptions = { size: config.CONTEXT_CACHE_SIZE, ttlS: config.CONTEXT_CACHE_TTL };
  const contexts = openContexts(redis, contextOptions, logger, metrics);
  bus.answer(chat, async (asked, sendChunk) => {
    slots.enter('limited');
    try {
      const { request, remember } = await contexts.resolve(asked);
      using chunks = createChunks(sendChunk);
      const [outcome] = await Promise.all([call(caller, request, request.stream ? chunks.add : undefined), remember()]);
      count(outcome);
      countForAgent(metrics, request, outcome);
      if (config.LLM_DEBUG) logCall(logger, request, outcome);
      await appendToLedger(bus, writer, logger, request, outcome);
      if (!outcome.response) throw outcome.failure;
      return outcome.response;
    } finally {
      slots.leave();
    }
  });
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
