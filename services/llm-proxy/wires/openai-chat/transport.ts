import OpenAI from 'openai';
import type { OpenTransport } from '../pivot.ts';

/** OpenAI's own SDK, as the way that our agents' calls go to one of its paths. What it carries is written and read here. */
export const transportTo =
  (path: string): OpenTransport =>
  ({ baseUrl, timeoutMs, fetch }) => {
    const client = new OpenAI({
      apiKey: 'none',
      adminAPIKey: null,
      baseURL: baseUrl,
      maxRetries: 0,
      timeout: timeoutMs,
      logLevel: 'off',
      fetch,
    });
    const headers = { 'content-type': 'application/json' };
    return (body, signal) => client.post(path, { body, headers, signal, stream: true }).asResponse();
  };
