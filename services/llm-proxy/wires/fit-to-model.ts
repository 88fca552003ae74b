import type { Effort, PivotRequest } from './pivot.ts';

/** What a model takes, as models.toml says it. */
type Traits = {
  forced_tools: boolean;
  temperature: boolean;
  tools_reasoning_effort?: Effort | undefined;
};

/**
 * The request as this model takes it: no sampling parameters where it refuses them, and a tool it cannot be made to call asked for in words.
 * The effort without which a model refuses tools goes before the client's wish. GPT-5.6 takes function tools by chat completions at the effort
 * "none" only ("use /v1/responses or set reasoning_effort to 'none'", OpenAI's own 400, 2026-11-30): an answer at less effort is better than none.
 */
export function fitToModel(request: PivotRequest, traits: Traits): PivotRequest {
  const { toolChoice, messages, tools, reasoningEffort } = request;
  const forced = toolChoice === 'required' || typeof toolChoice === 'object';
  const asked = forced && !traits.forced_tools;
  const tool = typeof toolChoice === 'object' ? `the tool "${toolChoice.name}"` : 'a tool';
  const text = `Answer with one call of ${tool} and with nothing else.`;
  return {
    ...request,
    ...(traits.temperature ? {} : { temperature: undefined, topP: undefined, topK: undefined }),
    toolChoice: asked ? 'auto' : toolChoice,
    messages: asked ? [...messages, { role: 'user', parts: [{ type: 'text', text }] }] : messages,
    reasoningEffort: (tools.length > 0 ? traits.tools_reasoning_effort : undefined) ?? reasoningEffort,
  };
}
