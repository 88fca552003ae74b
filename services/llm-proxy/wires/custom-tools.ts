import { z } from 'zod';
import type { CallPart, PivotTool, ToolOrigin } from './pivot.ts';
import { parseObject } from './read.ts';

// A custom tool of OpenAI's takes a free text. Elsewhere it is a function, and that text its one argument.

const schema = {
  type: 'object',
  properties: { input: { type: 'string', description: 'The whole input of the tool.' } },
  required: ['input'],
  additionalProperties: false,
};

export const Grammar = z.object({ syntax: z.enum(['lark', 'regex']), definition: z.string() });
type Custom = {
  name: string;
  description?: string | null | undefined;
  grammar?: z.infer<typeof Grammar> | undefined;
};

/** The function that stands for a custom tool. */
export function toTextFunction({ name, description, grammar }: Custom, origin: ToolOrigin): PivotTool {
  const rule = grammar && `The input must fit this ${grammar.syntax} grammar:\n${grammar.definition}`;
  const said = [description, rule].filter((text) => text).join('\n\n');
  return { name, description: said === '' ? undefined : said, schema, origin };
}

/** A custom tool's input as the arguments of the function that stands for it. */
export const argsOfInput = (input: string): string => JSON.stringify({ input });

/** And back; whatever else a model wrote is the input as it is. */
export function inputOfArgs(args: string): string {
  const input = parseObject(args)?.input;
  return typeof input === 'string' ? input : args;
}

/** How the client calls the tool that a model has called. */
export const originOf = (tools: readonly PivotTool[], { name }: Pick<CallPart, 'name'>): ToolOrigin =>
  tools.find((tool) => tool.name === name)?.origin ?? { kind: 'function', name };
