import { z } from 'zod';
import { CommonConfig, setting } from '#shared/settings.ts';

export const baseUrls = { anthropic: 'https://api.anthropic.com', openai: 'https://api.openai.com/v1' } as const;

export const Config = CommonConfig.extend({
  LLM_PROVIDER: z.enum(['anthropic', 'openai', 'demo']).optional(),
  ANTHROPIC_API_KEY: setting.secret().optional(),
  ANTHROPIC_BASE_URL: setting.url().default(baseUrls.anthropic),
  OPENAI_API_KEY: setting.secret().optional(),
  /** With its version, e.g. http://127.0.0.1:11434/v1 for Ollama. */
  OPENAI_BASE_URL: setting.url().default(baseUrls.openai),
  /** Where clients of OpenAI's and Anthropic's APIs are served; 0: any port that is free. */
  LLM_PORT: setting.integer(0, 65_535).default(4_000),
  LLM_HOST: setting.text().default('127.0.0.1'),
  /** The model of agents that name none; without it, the provider's default. */
  LLM_MODEL: setting.text().optional(),
  /** Seconds for an answer that comes whole, or until a stream brings something, retries and fallbacks included. */
  LLM_TIMEOUT: setting.number(0.1, 3_600).default(600),
  /** Seconds that may pass between two pieces of a stream. */
  LLM_STREAM_TIMEOUT: setting.number(0.1, 3_600).default(300),
  /**
   * Output tokens that a call may ask for at most, and gets where it does not say. Without it a client gets what it asks for, and the
   * model's max_output_tokens where it does not say; agents, and models of which that is not known, get 8,192.
   */
  LLM_MAX_OUTPUT_TOKENS: setting.integer(1, 1_000_000).optional(),
  /** Model calls that this instance makes at a time. */
  LLM_CONCURRENCY: setting.integer(1, 10_000).default(64),
  /** Percent of them that client keys never get. */
  LLM_AGENTS_SHARE: setting.integer(0, 100).default(25),
  /** MiB that requests of clients may take in memory at a time, with what is made of them. */
  LLM_REQUESTS_MEMORY: setting.integer(160, 65_536).default(256),
  /** Seconds in which a client must have sent its request. */
  LLM_REQUEST_TIMEOUT: setting.number(0.1, 3_600).default(120),
  /** How often a call is tried again where that may help, at all endpoints together. */
  LLM_RETRIES: setting.integer(0, 10).default(2),
  /** Calls that wait for a limit or for room, at most; clients' leave LLM_AGENTS_SHARE of it to agents. */
  LLM_QUEUE_MAX: setting.integer(0, 100_000).default(1_000),
  /** Seconds that a call of an agent waits for a limit or for room. */
  LLM_QUEUE_TIMEOUT: setting.number(0, 3_600).default(30),
  /** Seconds that a client's call waits where only calls under way hold what it needs of a limit or budget. */
  LLM_CLIENT_QUEUE_TIMEOUT: setting.number(0, 3_600).default(20),
  /** Logs the shape of each call, and its beginning. */
  LLM_DEBUG: setting.flag().default(false),
  MODELS_FILE: setting.text().default('config/models.toml'),
  /** Overwrites the memory that a provider's key was kept in once it is replaced or the service stops. */
  SECURE_ZERO_MEMORY: setting.flag().default(true),
  REDIS_URL: setting.url().default('redis://127.0.0.1:6379'),
  REDIS_PASSWORD: setting.secret().optional(),
  /** Model calls of all instances together in each window. */
  RATE_LIMIT_REQUESTS: setting.integer(1, 1_000_000).default(100),
  /** Seconds. */
  RATE_LIMIT_WINDOW: setting.number(0.1, 86_400).default(60),
  RESPONSE_CACHE_ENABLED: setting.flag().default(true),
  /** Answers that are kept. */
  RESPONSE_CACHE_SIZE: setting.integer(1, 1_000_000).default(1_024),
  /** Seconds that an answer is kept. */
  RESPONSE_CACHE_TTL: setting.integer(1, 31_536_000).default(3_600),
  /** Conversations that are kept, so that a run sends only what is new. */
  CONTEXT_CACHE_SIZE: setting.integer(1, 1_000_000).default(2_048),
  /** Seconds that a conversation is kept after its last use. */
  CONTEXT_CACHE_TTL: setting.integer(1, 31_536_000).default(7_200),
}).superRefine((config, context) => {
  for (const provider of ['anthropic', 'openai'] as const) {
    const upper = provider === 'anthropic' ? 'ANTHROPIC' : 'OPENAI';
    const elsewhere = config[`${upper}_BASE_URL`].replace(/\/+$/, '') !== baseUrls[provider];
    if (config.LLM_PROVIDER !== provider || config[`${upper}_API_KEY`] || elsewhere) continue;
    context.addIssue({ code: 'custom', path: [`${upper}_API_KEY`], message: 'is required' });
  }
});
export type Config = z.output<typeof Config>;
