import { z } from 'zod';
import { request } from './contract.ts';
import { Priority } from './ids.ts';

/** What a model asks to be done. `args` is what it sent, unchecked: hostile input. */
export const ToolCall = z.object({
  callId: z.string().min(1).max(200),
  tool: z.string().min(1).max(200),
  args: z.record(z.string(), z.unknown()),
  /**
   * Its arguments as the model wrote them, where `args` does not hold all that they say: a whole number above 2^53, the order of names
   * that are numbers. They are given back to it so.
   */
  json: z.string().optional(),
  /** Why its arguments cannot be used: the model is told. */
  problem: z.string().optional(),
});
export type ToolCall = z.infer<typeof ToolCall>;

export const Image = z.object({
  mediaType: z.enum(['image/png', 'image/jpeg', 'image/gif', 'image/webp']),
  base64: z.string().max(7_000_000),
});
export type Image = z.infer<typeof Image>;

export const ChatMessage = z.discriminatedUnion('role', [
  z.object({ role: z.literal('user'), text: z.string() }),
  z.object({
    role: z.literal('assistant'),
    text: z.string(),
    toolCalls: z.array(ToolCall),
    reasoning: z.string().optional(),
  }),
  z.object({
    role: z.literal('tool'),
    callId: z.string(),
    text: z.string(),
    isError: z.boolean(),
    image: Image.optional(),
  }),
]);
export type ChatMessage = z.infer<typeof ChatMessage>;

export const ToolOffer = z.object({
  name: z.string().regex(/^[a-zA-Z0-9_-]{1,64}$/),
  description: z.string(),
  /** JSON Schema of its arguments. */
  inputSchema: z.record(z.string(), z.unknown()),
});
export type ToolOffer = z.infer<typeof ToolOffer>;

/**
 * A conversation that the proxy keeps between calls, so that a call carries only what is new. Its beginning, `system` and `tools`
 * included, is known by a digest: see shared/rolling.ts.
 */
export const ContextRef = z.object({
  id: z.string().regex(/^[a-zA-Z0-9_-]{1,200}$/),
  /** Messages that the proxy is believed to have: they, `system` and `tools` are left out of the call. 0: the call is whole. */
  count: z.number().int().min(0).max(100_000),
  /** Of `system`, `tools` and those messages; empty where the call is whole. */
  digest: z.string().regex(/^([0-9a-f]{64})?$/),
  /** How many of `messages` go on with the conversation; those behind them are for this call only. */
  keep: z.number().int().nonnegative(),
});
export type ContextRef = z.infer<typeof ContextRef>;

export const ChatRequest = z.object({
  /** Who pays: the ledger's key. */
  key: z
    .string()
    .regex(/^[a-zA-Z0-9_-]{1,64}$/)
    .default('internal'),
  agentId: z.string().optional(),
  runId: z.string().optional(),
  /** The sequence of the run's last event that the asker knows: where the log has a later one, no model is asked. */
  seen: z.number().int().nonnegative().optional(),
  /** Which its event belongs to. */
  trace: z.object({ traceparent: z.string(), tracestate: z.string().optional() }).optional(),
  workstream: z.string().optional(),
  /** Who goes first where calls wait for a limit. */
  priority: Priority.default('medium'),
  model: z.string().optional(),
  system: z.string(),
  messages: z.array(ChatMessage).min(1),
  tools: z.array(ToolOffer).default([]),
  /** `auto`, or the name of the one tool that must be called. */
  toolChoice: z.union([z.literal('auto'), z.object({ name: z.string() })]).default('auto'),
  maxOutputTokens: z.number().int().positive().optional(),
  temperature: z.number().min(0).max(2).optional(),
  /** Whether an equal earlier answer will do; without it: only at temperature 0. */
  cache: z.boolean().optional(),
  /** Whether the text is wanted in chunks while the model writes it; the response comes in any case. */
  stream: z.boolean().optional(),
  context: ContextRef.optional(),
});
export type ChatRequest = z.infer<typeof ChatRequest>;
export type ChatInput = z.input<typeof ChatRequest>;

export const Usage = z.object({
  inputTokens: z.number().int().nonnegative(),
  outputTokens: z.number().int().nonnegative(),
  /** Of the input tokens, those read from the provider's prompt cache. */
  cachedInputTokens: z.number().int().nonnegative().default(0),
  /** Of the input tokens, those written to it. */
  cacheWriteTokens: z.number().int().nonnegative().default(0),
  /** Of those written, those that are kept for an hour or longer: they cost more. */
  cacheWriteLongTokens: z.number().int().nonnegative().optional(),
  /** Of the output tokens, those of the model's thinking, where the provider tells them. */
  reasoningTokens: z.number().int().nonnegative().optional(),
  /** Searches that the provider made on the web, which it charges by the piece. */
  webSearches: z.number().int().nonnegative().optional(),
  /** How the call was served, where not in the standard way: `flex`, `priority`, `fast`, `batch`, or a provider's own word. */
  tier: z.string().max(40).optional(),
  /** Where it was served, where the provider tells it: `us`. */
  region: z.string().max(40).optional(),
});
export type Usage = z.infer<typeof Usage>;

export const StopReason = z.enum(['end', 'tool-calls', 'length', 'refusal']);

/** What a model said. */
export const Answer = z.object({
  text: z.string(),
  toolCalls: z.array(ToolCall),
  stopReason: StopReason,
  /** What the provider wants back, unread, with this turn: its model's thinking, signed. */
  reasoning: z.string().optional(),
});
export type Answer = z.infer<typeof Answer>;

/** What a model call took. `costUsd` is null where the model's price is not known: never zero by guess. */
export const CallFacts = z.object({
  provider: z.string(),
  model: z.string(),
  usage: Usage,
  /** `usage`, and the cost with it, is our own count, in part at least: the provider had not told it when the call ended. */
  estimated: z.literal(true).optional(),
  costUsd: z.number().nonnegative().nullable(),
  latencyMs: z.number().nonnegative(),
  /** `coalesced`: an equal call was under way, and its answer is this one's too. */
  cache: z.enum(['hit', 'miss', 'bypass', 'coalesced']),
});
export type CallFacts = z.infer<typeof CallFacts>;

export const ChatResponse = z.object({ answer: Answer, facts: CallFacts });
export type ChatResponse = z.infer<typeof ChatResponse>;

/**
 * One model call. It is answered as a stream: heartbeats while the model thinks, chunks of its text where they are wanted, then the
 * response. `context-missing`: the conversation is not kept as the caller believes; the same call sent whole goes through. `stale`: the run
 * has gone on without the caller, who has to read the log before it asks again.
 */
export const chat = request('toka.llm.chat', ChatRequest, ChatResponse);
