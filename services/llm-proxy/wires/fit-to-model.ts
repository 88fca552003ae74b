import type { Effort, PivotRequest } from './pivot.ts';

/** What a model takes, as models.toml says it. */
type Traits = {
  forced_tools: boolean;
  temperature: boolean;
  tools_reasoning_effort?: Effort | undefined;
};

/** The request as this model takes it: no sampling parameters where it refuses them, and a tool it cannot be made to call asked for in words. */
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
    reasoningEffort: reasoningEffort ?? (tools.length > 0 ? traits.tools_reasoning_effort : undefined),
  };
}
