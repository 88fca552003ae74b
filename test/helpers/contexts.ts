import type { ExecutionContext } from 'ava';
import type { Redis } from 'ioredis';
import type { ChatInput, ChatMessage, ChatResponse, ToolOffer } from '#shared/contracts/llm.ts';
import { ChatRequest } from '#shared/contracts/llm.ts';
import { createLogger } from '#shared/log.ts';
import { createMetrics } from '#shared/metrics.ts';
import type { Conversation } from '../../services/agent-runner/conversation.ts';
import type { Contexts } from '../../services/llm-proxy/context/contexts.ts';
import { openContexts } from '../../services/llm-proxy/context/contexts.ts';
import { contextScripts } from '../../services/llm-proxy/context/scripts.ts';
import type { TestServer } from './servers.ts';
import { connectRedis } from './servers.ts';

const logger = createLogger('llm-proxy', 'test', 'silent');
/** What is offered in these conversations. */
export const tools: ToolOffer[] = [
  { name: 'look', description: 'Looks', inputSchema: { type: 'object', properties: {} } },
];
export const user = (text: string): ChatMessage => ({ role: 'user', text });

/** One instance's context cache, and what it counted. */
export type Replica = { contexts: Contexts; redis: Redis; count(result: 'hit' | 'miss' | 'whole'): Promise<number> };

/** Opens one more instance on a Redis. */
export async function openReplica(
  stack: AsyncDisposableStack,
  server: TestServer,
  { size = 100, ttlS = 60 } = {},
): Promise<Replica> {
  // As the service's own, but it waits for a slow machine: a timeout is a miss, and these tests count misses.
  const redis = await connectRedis(server.url, {
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    scripts: contextScripts,
  });
  stack.defer(() => redis.disconnect());
  const metrics = createMetrics('llm-proxy', 'test', 10);
  return {
    contexts: openContexts(redis, { size, ttlS }, logger, metrics),
    redis,
    async count(result) {
      const { values } = await metrics.llmContext.get();
      return values.find(({ labels }) => labels.result === result)?.value ?? 0;
    },
  };
}

/** What a replica makes of a call as it comes over the bus, in place of a model's answer. */
export async function resolved({ contexts }: Replica, input: ChatInput): Promise<ChatRequest> {
  const { request, remember } = await contexts.resolve(ChatRequest.parse(JSON.parse(JSON.stringify(input))));
  await remember();
  return request;
}

/** What a model says, where it does not matter. */
export const answer: ChatResponse = {
  answer: { text: 'Yes.', toolCalls: [], stopReason: 'end' },
  facts: {
    provider: 'demo',
    model: 'demo',
    usage: { inputTokens: 1, outputTokens: 1, cachedInputTokens: 0, cacheWriteTokens: 0 },
    costUsd: 0,
    latencyMs: 1,
    cache: 'bypass',
  },
};

/** One turn against a replica: checks that it sees the whole, and answers how many messages were sent, each time. */
export async function turn(
  t: ExecutionContext,
  replica: Replica,
  conversation: Conversation,
  said: ChatMessage[],
  { system = 'You are terse.', offered = tools } = {},
): Promise<number[]> {
  const sent: number[] = [];
  await conversation.ask({ system, tools: offered, said }, async (input) => {
    sent.push(input.messages.length);
    const request = await resolved(replica, input);
    t.deepEqual(request.messages, said);
    t.deepEqual([request.system, request.tools], [system, offered]);
    return answer;
  });
  return sent;
}
