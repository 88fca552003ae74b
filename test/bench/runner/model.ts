import { setTimeout as delay } from 'node:timers/promises';
import { openBus } from '#shared/bus/bus.ts';
import type { ChatRequest } from '#shared/contracts/llm.ts';
import { chat } from '#shared/contracts/llm.ts';
import { recallMemory } from '#shared/contracts/store.ts';
import { answerOf } from './answer.ts';

// A model, as a rule without latency: what llm-proxy and store answer to a runner, at once and with nothing behind it.

const [url = '', wanted = '', latencyMs = '0'] = process.argv.slice(2);
const bus = await openBus({ url, name: 'bench-model', leaseMs: 30_000, replicas: 1 }, (error) => console.error(error));
/** Turns left of each run. */
const left = new Map<string, number>();

/** Tools that the runner itself does, the cheapest first: none needs a sandbox. */
const own = ['recall'];
/** With no such tool on offer the runner refuses the call itself, which is a result as any other. */
const unknown = 'none_such';

const toolOf = ({ tools }: ChatRequest): string =>
  wanted || (own.find((name) => tools.some((offer) => offer.name === name)) ?? unknown);

const turnsOf = ({ messages: [first] }: ChatRequest): number => Number(/turns=(\d+)/.exec(first?.text ?? '')?.[1] ?? 1);

bus.answer(chat, async (question) => {
  if (latencyMs !== '0') await delay(Number(latencyMs));
  const id = question.runId ?? '';
  const now = (left.get(id) ?? turnsOf(question)) - 1;
  if (now > 0) left.set(id, now);
  else left.delete(id);
  const facts = {
    provider: 'bench',
    model: 'bench-1',
    usage: { inputTokens: 10, outputTokens: 5, cachedInputTokens: 0, cacheWriteTokens: 0 },
    costUsd: 0,
    latencyMs: 0,
    cache: 'bypass' as const,
  };
  return { answer: answerOf(now > 0 ? toolOf(question) : null, now), facts };
});
bus.answer(recallMemory, () => []);
process.send?.('ready');
process.once('disconnect', () => process.exit());
