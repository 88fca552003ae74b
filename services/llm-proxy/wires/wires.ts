import * as anthropicAnswer from './anthropic/answer.ts';
import * as anthropicEvents from './anthropic/events.ts';
import * as anthropicRead from './anthropic/read-request.ts';
import * as anthropicWrite from './anthropic/write-request.ts';
import { writeAnthropicError, writeOpenAiError } from './errors.ts';
import * as chatAnswer from './openai-chat/answer.ts';
import * as chatEvents from './openai-chat/events.ts';
import * as chatRead from './openai-chat/read-request.ts';
import * as chatWrite from './openai-chat/write-request.ts';
import * as responsesAnswer from './openai-responses/answer.ts';
import * as responsesEvents from './openai-responses/events.ts';
import * as responsesRead from './openai-responses/read-request.ts';
import type { ClientWire, UpstreamWire } from './pivot.ts';

/** OpenAI's chat completions, from both sides. */
export const openAiChat: ClientWire & UpstreamWire = {
  name: 'openai-chat',
  toolNameCharsMax: 64,
  readRequest: chatRead.readRequest,
  writeRequest: chatWrite.writeRequest,
  readAnswer: chatAnswer.readAnswer,
  writeAnswer: chatAnswer.writeAnswer,
  createEventReader: chatEvents.createEventReader,
  createEventWriter: chatEvents.createEventWriter,
  writeError: writeOpenAiError,
};

/** OpenAI's responses, as far as nothing has to be stored, from the client's side. */
export const openAiResponses: ClientWire = {
  name: 'openai-responses',
  readRequest: responsesRead.readRequest,
  writeAnswer: responsesAnswer.writeAnswer,
  createEventWriter: responsesEvents.createEventWriter,
  writeError: writeOpenAiError,
};

/** Anthropic's messages, from both sides. */
export const anthropic: ClientWire & UpstreamWire = {
  name: 'anthropic',
  toolNameCharsMax: 128,
  readRequest: anthropicRead.readRequest,
  writeRequest: anthropicWrite.writeRequest,
  readAnswer: anthropicAnswer.readAnswer,
  writeAnswer: anthropicAnswer.writeAnswer,
  createEventReader: anthropicEvents.createEventReader,
  createEventWriter: anthropicEvents.createEventWriter,
  writeError: writeAnthropicError,
};
