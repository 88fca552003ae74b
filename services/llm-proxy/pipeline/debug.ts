import type { CallFacts, ChatRequest, ChatResponse } from '#shared/contracts/llm.ts';
import { messageOf } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';
import { scrub } from '#shared/secrets.ts';
import { clip } from '#shared/text.ts';
import type { Call } from '../model-call.ts';

const beginningCharsMax = 200;
/** Scrubbed before it is cut: half a secret would not be known as one. */
const beginning = (text: string) => clip(scrub(text), beginningCharsMax);

/** LLM_DEBUG: the shape of a call, and the beginnings of its last message and its answer. */
export function logCall(
  logger: Logger,
  request: ChatRequest,
  { facts, response, failure }: { facts: CallFacts; response?: ChatResponse; failure?: unknown },
): void {
  const { agentId, runId, system, messages, tools, toolChoice, temperature } = request;
  const last = messages.at(-1);
  const answer = response?.answer;
  logger.info(
    {
      agentId,
      runId,
      facts,
      request: {
        roles: messages
          .map(({ role }) => role)
          .join(' ')
          .slice(-beginningCharsMax),
        chars: system.length + messages.reduce((sum, { text }) => sum + text.length, 0),
        tools: tools.map(({ name }) => name),
        toolChoice,
        temperature,
        last: last && { role: last.role, text: beginning(last.text) },
      },
      response: answer && {
        stopReason: answer.stopReason,
        chars: answer.text.length,
        text: beginning(answer.text),
        calls: answer.toolCalls.map(({ tool, args }) => `${tool} ${beginning(JSON.stringify(args))}`),
      },
      failure: failure === undefined ? undefined : beginning(messageOf(failure)),
    },
    'model call',
  );
}

/** The same of a call that came over HTTP: of its body as it came, and not of the answer, which passes by. */
export function logHttpCall(
  logger: Logger,
  { id, route, key, model, stream, raw }: Call,
  facts: CallFacts,
  failure: unknown,
): void {
  logger.info(
    {
      ...{ id, key: key.id, facts },
      request: { kind: route.kind, model, stream, bytes: raw.length, body: beginning(raw.toString()) },
      failure: failure === undefined ? undefined : beginning(messageOf(failure)),
    },
    'model call over HTTP',
  );
}
