import type { Config } from './config.ts';
import type { Provider } from './provider.ts';
import { createAnthropic } from './providers/anthropic.ts';
import { createDemo } from './providers/demo.ts';
import { createOpenAi } from './providers/openai.ts';

/** LLM_PROVIDER, or the one whose key is set, or the demo. */
export const providerOf = (config: Config) =>
  config.LLM_PROVIDER ?? (config.ANTHROPIC_API_KEY ? 'anthropic' : config.OPENAI_API_KEY ? 'openai' : 'demo');

/** The provider that LLM_PROVIDER names, and where it is: part of what makes two calls equal. */
export function chooseProvider(config: Config): { provider: Provider; baseUrl: string } {
  // The call's own signal ends it; the SDK's limit is for what that misses.
  const timeoutMs = config.LLM_TIMEOUT * 1_000 + 1_000;
  switch (providerOf(config)) {
    case 'anthropic': {
      const baseUrl = config.ANTHROPIC_BASE_URL;
      return { provider: createAnthropic({ apiKey: config.ANTHROPIC_API_KEY, baseUrl, timeoutMs }), baseUrl };
    }
    case 'openai': {
      const baseUrl = config.OPENAI_BASE_URL;
      return { provider: createOpenAi({ apiKey: config.OPENAI_API_KEY, baseUrl, timeoutMs }), baseUrl };
    }
    case 'demo':
      return { provider: createDemo(), baseUrl: '' };
  }
}
