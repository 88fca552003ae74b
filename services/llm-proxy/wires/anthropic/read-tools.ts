import { z } from 'zod';
import type { PivotTool } from '../pivot.ts';
import { inner, ObjectSchema } from '../read.ts';

const object = <S extends z.ZodRawShape>(shape: S) => inner('anthropic', shape);

// A tool without a type is the client's own; any other is one that the provider runs or knows.
const Tool = object({
  type: z.literal('custom', 'is a tool of the provider, which this model does not have').nullish(),
  name: z.string().min(1),
  description: z.string().nullish(),
  input_schema: ObjectSchema,
  strict: z.boolean().nullish(),
  defer_loading: z.boolean().nullish(),
  allowed_callers: z
    .array(z.string())
    .refine((callers) => callers.includes('direct'), 'must have "direct", the only caller that this model knows')
    .nullish(),
  input_examples: z.array(ObjectSchema).nullish(),
}).transform(({ name, description, input_schema, strict, defer_loading, input_examples }) => ({
  name,
  description: described(description ?? undefined, input_examples ?? []),
  schema: input_schema,
  strict: strict ?? undefined,
  isDeferred: defer_loading ?? false,
}));
type Tool = z.infer<typeof Tool>;

/** Other wires have no place for examples but the description. */
function described(description: string | undefined, examples: readonly Record<string, unknown>[]): string | undefined {
  if (examples.length === 0) return description;
  const lines = examples.map((example) => JSON.stringify(example));
  return [...(description ? [description] : []), 'Examples of its arguments:', ...lines].join('\n');
}

/** Searches and fetches that Anthropic runs itself while it answers. */
const hostedType = /^(web_search|web_fetch|tool_search_tool_(bm25|regex))(_\d{8})?$/;
const typeOf = (tool: unknown): unknown => (tool instanceof Object && 'type' in tool ? tool.type : undefined);
const isHosted = (tool: unknown): boolean => hostedType.test(String(typeOf(tool)));

/** `null` is a tool that is left out: the others keep their places, by which problems name them. */
export const Tools = z.preprocess(
  (tools) => (Array.isArray(tools) ? tools.map((tool: unknown) => (isHosted(tool) ? null : tool)) : tools),
  z.array(Tool.nullable()),
);

const Reference = object({ type: z.literal('tool_reference'), name: z.string().min(1) });
const Definition = object({ type: z.literal('tool_definition'), definition: Tool });

export const ToolAddition = object({
  type: z.literal('tool_addition'),
  tool: z.discriminatedUnion('type', [Reference, Definition]),
});
export const ToolRemoval = object({ type: z.literal('tool_removal'), tool: Reference });

type Change = z.infer<typeof ToolAddition | typeof ToolRemoval>;
type Asked = {
  /** As the client sent them. */
  raw: unknown;
  tools: readonly (Tool | null)[];
  turns: readonly { loads: readonly string[]; changes: readonly Change[] }[];
  /** The tool that must be called. */
  forced: string | undefined;
};

/**
 * The tools that the model knows at the end of the conversation. One whose loading is deferred is shown once something names it: showing
 * all would undo what the client saves, and Claude Code defers one that must never be called. Where Anthropic's own search was to find
 * them there is none here, so all are shown. Of a web that cannot be searched the model is told in words, or it would make up results.
 */
export function readTools({ raw, tools, turns, forced }: Asked): { tools: PivotTool[]; words: string[] } {
  const hosted = (Array.isArray(raw) ? raw : []).filter(isHosted);
  const isSearchable = hosted.some((tool) => String(typeOf(tool)).startsWith('tool_search'));
  const known = new Map<string, Tool>();
  const shown = new Set<string>();
  const add = (tool: Tool, isShown: boolean) => {
    known.set(tool.name, tool);
    if (isShown) shown.add(tool.name);
  };
  for (const tool of tools) if (tool) add(tool, !tool.isDeferred || isSearchable || tool.name === forced);
  for (const { loads, changes } of turns) {
    for (const name of loads) shown.add(name);
    for (const { type, tool } of changes) {
      if (type === 'tool_removal') shown.delete(tool.name);
      else if (tool.type === 'tool_reference') shown.add(tool.name);
      else add(tool.definition, true);
    }
  }
  const left = hosted.flatMap((tool) => (String(typeOf(tool)).startsWith('web_') ? [nameOf(tool)] : []));
  return {
    tools: [...known.values()].filter(({ name }) => shown.has(name)).map(({ isDeferred, ...tool }) => tool),
    words: left.map(
      (name) =>
        `The tool ${name} is not there: nothing can be looked up on the web with it. Say so where it is needed.`,
    ),
  };
}

const nameOf = (tool: object): string =>
  'name' in tool ? String(tool.name).slice(0, 64) : String(typeOf(tool)).slice(0, 64);
