import OpenAI from 'openai';
import type { OpenTransport } from '../pivot.ts';

/** OpenAI's own SDK, as the way that our agents' calls go. What it carries is written and read here. */
export const openTransport: OpenTransport = ({ baseUrl, timeoutMs, fetch }) => {
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
  return (body, signal) => client.post('/chat/completions', { body, headers, signal, stream: true }).asResponse();
};
