import { Failure } from '#shared/errors.ts';
import type { Context } from '#shared/service.ts';
import { runService } from '#shared/service.ts';
import { createAnswers } from './cache/answers.ts';
import { createMemory } from './clients/http/memory.ts';
import { openHttp } from './clients/http/open.ts';
import { answerCalls } from './clients/nats/nats.ts';
import { Config } from './config.ts';
import { createBreakers } from './failover/breakers.ts';
import { createFailoverCounter } from './failover/count.ts';
import { openKeys } from './keys/keys.ts';
import { createLedger } from './limits/ledger.ts';
import { createLimits } from './limits/limits.ts';
import type { Parts } from './model-call.ts';
import { providerOf } from './models/endpoints.ts';
import { createModelLabel } from './models/label.ts';
import { openModels } from './models/open.ts';
import type { Asker } from './pipeline/ask-model.ts';
import { createCounter } from './pipeline/count-calls.ts';
import { openRedis } from './redis.ts';
import { createKeptResponses } from './responses/kept-responses.ts';
import { openUpstreams } from './upstreams/upstreams.ts';
import { watchRedis } from './watch-redis.ts';

/** The proxy: every model call goes through cache, limit and provider, into the ledger, and back to who asked. */
export async function start(context: Context<Config>): Promise<void> {
  await open(context);
}

const outputTokensUsual = 8_192;
/** More than any model puts out. */
const outputTokensMax = 1_000_000;
const withoutRedis = 'ok, but without Redis: nothing is cached, and each llm-proxy keeps to its share of the limits';

/** Opens the proxy. Answers the port on which it serves clients of OpenAI's and Anthropic's APIs. */
export async function open(context: Context<Config>): Promise<number> {
  const { bus, config, logger, metrics, stack, writer, instance } = context;
  const models = openModels(config, context.secret, stack, logger, metrics);
  const redis = stack.adopt(await openRedis(config.REDIS_URL, config.REDIS_PASSWORD, logger), (client) =>
    client.disconnect(),
  );
  watchRedis(stack, redis, metrics);
  const endpoints = () => [
    ...new Set([
      ...models.targets(undefined).map(({ endpoint }) => endpoint.name),
      ...models.list().flatMap((listed) => listed.endpoints),
    ]),
  ];
  const limitsOptions = {
    ledger: createLedger(bus, logger, metrics),
    ...{ instance, queueMax: config.LLM_QUEUE_MAX, activeMax: config.LLM_CONCURRENCY, endpoints },
    agentsShare: config.LLM_AGENTS_SHARE / 100,
  };
  const limits = stack.use(createLimits(redis, models.rules, limitsOptions, logger, metrics));
  context.check('redis', () => (limits.state() === 'shared' ? 'ok' : withoutRedis));
  const keys = stack.use(await openKeys(bus, logger));
  context.check('keys', keys.state);

  const answersOptions = { size: config.RESPONSE_CACHE_SIZE, ttlS: config.RESPONSE_CACHE_TTL };
  const answers = config.RESPONSE_CACHE_ENABLED
    ? stack.use(createAnswers(redis, answersOptions, logger, metrics))
    : undefined;
  const upstreams = stack.use(
    openUpstreams({
      connections: config.LLM_CONCURRENCY,
      proxy: context.secret('NODE_USE_ENV_PROXY') === '1' ? {} : undefined,
    }),
  );
  const labelOf = createModelLabel();
  const breakers = createBreakers(metrics);
  // Whether one is open is to be seen before the first call, too.
  for (const endpoint of endpoints()) breakers.of(endpoint);
  const asker: Asker = {
    ...{ limits, breakers, ...createFailoverCounter(metrics, labelOf) },
    ...{ retriesMax: config.LLM_RETRIES, timeoutMs: config.LLM_TIMEOUT * 1_000 },
  };
  const giveUp = whenOver(context);
  const pending = new Set<Promise<void>>();
  stack.defer(async () => void (await Promise.allSettled(pending)));
  const parts: Parts = {
    ...{ bus, writer, logger, keys, models, upstreams, asker, answers, pending },
    count: createCounter(metrics, labelOf),
    memory: createMemory(config.LLM_REQUESTS_MEMORY * 1_048_576, metrics),
    responses: createKeptResponses(redis, logger),
    maxOutputTokens: config.LLM_MAX_OUTPUT_TOKENS ?? outputTokensUsual,
    outputCeiling: config.LLM_MAX_OUTPUT_TOKENS ?? outputTokensMax,
    clientWaitMs: config.LLM_CLIENT_QUEUE_TIMEOUT * 1_000,
    requestMs: config.LLM_REQUEST_TIMEOUT * 1_000,
    debug: config.LLM_DEBUG,
  };
  answerCalls(context, parts, giveUp, redis);
  if (providerOf(config) === 'demo') logger.warn('LLM_PROVIDER=demo: answers come from simple rules, not from a model');
  return openHttp(context, parts, giveUp);
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
