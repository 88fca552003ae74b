import * as anthropicAnswer from './anthropic/answer.ts';
import { mayCarryThinking, withoutCarried } from './anthropic/carried-thinking.ts';
import * as anthropicEvents from './anthropic/events.ts';
import * as anthropicHeaders from './anthropic/headers.ts';
import * as anthropicRead from './anthropic/read-request.ts';
import * as anthropicThinking from './anthropic/refused-thinking.ts';
import * as anthropicTransport from './anthropic/transport.ts';
import * as anthropicWrite from './anthropic/write-request.ts';
import { writeAnthropicError, writeOpenAiError } from './errors.ts';
import * as chatAnswer from './openai-chat/answer.ts';
import * as chatEvents from './openai-chat/events.ts';
import * as chatHeaders from './openai-chat/headers.ts';
import * as chatRead from './openai-chat/read-request.ts';
import * as chatTransport from './openai-chat/transport.ts';
import * as chatWrite from './openai-chat/write-request.ts';
import * as responsesAnswer from './openai-responses/answer.ts';
import * as responsesEvents from './openai-responses/events.ts';
import * as responsesReadAnswer from './openai-responses/read-answer.ts';
import * as responsesReadEvents from './openai-responses/read-events.ts';
import * as responsesRead from './openai-responses/read-request.ts';
import * as responsesThinking from './openai-responses/refused-thinking.ts';
import * as responsesWrite from './openai-responses/write-request.ts';
import type { ClientWire, ProviderWireName, UpstreamWire, Versions } from './pivot.ts';

const unversioned = (): Versions => ({ headers: {}, query: '' });

/** OpenAI's chat completions, from both sides. */
export const openAiChat: ClientWire & UpstreamWire = {
  name: 'openai-chat',
  toolNameCharsMax: 64,
  provider: 'openai',
  path: '/chat/completions',
  requestIdHeader: 'x-request-id',
  readVersions: unversioned,
  credentialHeaders: chatHeaders.credentialHeaders,
  versionHeaders: {},
  openTransport: chatTransport.transportTo('/chat/completions'),
  readRequest: chatRead.readRequest,
  writeRequest: chatWrite.writeRequest,
  readAnswer: chatAnswer.readAnswer,
  writeAnswer: chatAnswer.writeAnswer,
  createEventReader: chatEvents.createEventReader,
  createEventWriter: chatEvents.createEventWriter,
  writeError: writeOpenAiError,
};

/** OpenAI's responses, as far as nothing has to be stored, from both sides. */
export const openAiResponses: ClientWire & UpstreamWire = {
  name: 'openai-responses',
  toolNameCharsMax: 64,
  provider: 'openai',
  path: '/responses',
  requestIdHeader: 'x-request-id',
  readVersions: unversioned,
  credentialHeaders: chatHeaders.credentialHeaders,
  versionHeaders: {},
  openTransport: chatTransport.transportTo('/responses'),
  readRequest: responsesRead.readRequest,
  writeRequest: responsesWrite.writeRequest,
  readAnswer: responsesReadAnswer.readAnswer,
  writeAnswer: responsesAnswer.writeAnswer,
  createEventReader: responsesReadEvents.createEventReader,
  createEventWriter: responsesEvents.createEventWriter,
  boundThinking: { isRefused: responsesThinking.isRefused, leaveOut: responsesThinking.leaveOut },
  writeError: writeOpenAiError,
};

/** Anthropic's messages, from both sides. */
export const anthropic: ClientWire & UpstreamWire = {
  name: 'anthropic',
  toolNameCharsMax: 128,
  provider: 'anthropic',
  path: '/v1/messages',
  requestIdHeader: 'request-id',
  readVersions: anthropicHeaders.readVersions,
  withoutForeign: (raw, body) => (mayCarryThinking(raw) ? withoutCarried(body) : undefined),
  credentialHeaders: anthropicHeaders.credentialHeaders,
  versionHeaders: anthropicHeaders.versionHeaders,
  openTransport: anthropicTransport.openTransport,
  readRequest: anthropicRead.readRequest,
  writeRequest: anthropicWrite.writeRequest,
  readAnswer: anthropicAnswer.readAnswer,
  writeAnswer: anthropicAnswer.writeAnswer,
  createEventReader: anthropicEvents.createEventReader,
  createEventWriter: anthropicEvents.createEventWriter,
  boundThinking: { isRefused: anthropicThinking.isRefused, leaveOut: anthropicThinking.leaveOut, toPrefix: true },
  writeError: writeAnthropicError,
};

/** How a provider is asked by whoever does not speak its wire. */
export const upstreamWires: Record<ProviderWireName, UpstreamWire> = { anthropic, openai: openAiChat };
