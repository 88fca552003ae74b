import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { commandKey } from '#shared/command.ts';
import { isLlmEvent } from '#shared/contracts/events.ts';
import { KeyTerms } from '#shared/contracts/key.ts';
import { newId } from '#shared/ids.ts';
import { hashOfSecret, newKeySecret } from '#shared/secrets.ts';
import { eventually } from './eventually.ts';
import type { FakeReply, FakeScript } from './fake-provider.ts';
import type { Wire } from './fake-wires.ts';
import { startProxySystem } from './proxy.ts';

export const said: FakeReply = {
  text: 'I look — twice. 🔎',
  toolCalls: [{ tool: 'look', args: { at: 'ü' }, callId: 'call_a' }],
  usage: { inputTokens: 30, outputTokens: 9, cachedInputTokens: 20 },
};
export const usage = { inputTokens: 30, outputTokens: 9, cachedInputTokens: 20, cacheWriteTokens: 0 };
const schema = { type: 'object' as const, properties: { at: { type: 'string' } } };
export const model = 'a-model';
export const chatBody = {
  model,
  messages: [
    { role: 'system' as const, content: 'Be short.' },
    { role: 'user' as const, content: 'Look.' },
  ],
  tools: [{ type: 'function' as const, function: { name: 'look', description: '', parameters: schema } }],
};
export const messagesBody = {
  model,
  max_tokens: 100,
  system: 'Be short.',
  messages: [{ role: 'user' as const, content: [{ type: 'text' as const, text: 'Look.' }] }],
  tools: [{ name: 'look', input_schema: schema }],
};
export const responsesBody = {
  model,
  instructions: 'Be short.',
  input: 'Look.',
  tools: [{ type: 'function' as const, name: 'look', strict: null, parameters: schema }],
};
export const shortChat = { model, messages: [{ role: 'user' as const, content: 'Hi' }] };
export const shortMessages = {
  model,
  max_tokens: 9,
  messages: [{ role: 'user' as const, content: [{ type: 'text' as const, text: 'Hi' }] }],
};

const writer = { source: '/toka/test/1', actor: 'service:test' };

type Options = {
  script: FakeScript;
  environment?: Record<string, string>;
  terms?: Record<string, unknown>;
  proxies?: number;
  hasUsers?: boolean;
};

/** An llm-proxy in front of a fake provider, with a client key of these terms and both official clients that use it. */
export async function startHttpProxy(wire: Wire, { terms = {}, ...options }: Options) {
  const system = await startProxySystem(wire, options);
  const url = system.urls[0] ?? '';
  const mint = async (changes: Record<string, unknown> = {}) => {
    const id = newId('key');
    const secret = newKeySecret();
    const parsed = KeyTerms.parse({ name: 'ci', ...changes });
    const mintIt = {
      type: 'mint' as const,
      terms: parsed,
      hash: hashOfSecret(secret),
      owner: 'ann',
      nowMs: Date.now(),
    };
    await commandKey(system.bus, id, mintIt, writer);
    const authorization = `Bearer ${secret}`;
    await eventually(async () => (await fetch(`${url}/v1/models`, { headers: { authorization } })).ok);
    return { id, secret };
  };
  const key = await mint(terms);
  const post = (path: string, body: unknown, headers: Record<string, string> = {}, signal?: AbortSignal) =>
    fetch(url + path, {
      method: 'POST',
      headers: { authorization: `Bearer ${key.secret}`, 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
      ...(signal ? { signal } : {}),
    });
  return {
    ...system,
    url,
    key,
    mint,
    post,
    openai: new OpenAI({ apiKey: key.secret, baseURL: `${url}/v1`, maxRetries: 0, logLevel: 'off' }),
    claude: new Anthropic({ apiKey: key.secret, baseURL: url, maxRetries: 0, logLevel: 'off' }),
    /** The ledger of the key once it has so many calls. */
    calls: (count: number) =>
      eventually(async () => {
        const events = (await system.bus.read('llm', key.id)).filter(isLlmEvent);
        return events.length >= count ? events : undefined;
      }),
  };
}
