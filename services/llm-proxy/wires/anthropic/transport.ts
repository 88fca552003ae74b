import Anthropic from '@anthropic-ai/sdk';
import type { OpenTransport } from '../pivot.ts';

/** Anthropic's own SDK, as the way that our agents' calls go. What it carries is written and read here. */
export const openTransport: OpenTransport = ({ baseUrl, timeoutMs, fetch }) => {
  const client = new Anthropic({
    apiKey: 'none',
    authToken: null,
    baseURL: baseUrl,
    maxRetries: 0,
    timeout: timeoutMs,
    logLevel: 'off',
    fetch,
  });
  const headers = { 'content-type': 'application/json' };
  return (body, signal) => client.post('/v1/messages', { body, headers, signal, stream: true }).asResponse();
};
