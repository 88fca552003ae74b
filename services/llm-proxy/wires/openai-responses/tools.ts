import { createHash } from 'node:crypto';
import { z } from 'zod';
import { leftOutTools } from '../left-out.ts';
import type { CallPart, JsonObject, PivotTool, ToolOrigin } from '../pivot.ts';
import { inner, maybe, ObjectSchema, parseObject } from '../read.ts';

const object = <S extends z.ZodRawShape>(shape: S) => inner('openai-responses', shape);
const nameCharsMax = 64;

/**
 * The name under which other wires know a tool: they have no namespaces. Both wires take letters, digits, "_" and "-", at most 64
 * of them; what had to be changed or cut has a digest at its end, so that no two tools become one.
 */
export function flatName({ name, namespace }: Pick<ToolOrigin, 'name' | 'namespace'>): string {
  if (namespace === undefined) return name;
  const whole = `${namespace}__${name}`;
  const taken = whole.replace(/[^a-zA-Z0-9_-]/gu, '_');
  if (taken === whole && taken.length <= nameCharsMax) return taken;
  const digest = createHash('sha256').update(`${namespace}\n${name}`).digest('hex').slice(0, 12);
  return `${taken.slice(0, nameCharsMax - digest.length - 1)}_${digest}`;
}

const FunctionTool = object({
  type: z.literal('function'),
  name: z.string().min(1),
  description: z.string().nullish(),
  parameters: maybe(ObjectSchema),
  strict: z.boolean().nullish(),
});
const CustomTool = object({
  type: z.literal('custom'),
  name: z.string().min(1),
  description: z.string().nullish(),
  format: maybe(
    z.discriminatedUnion('type', [
      object({ type: z.literal('text') }),
      object({ type: z.literal('grammar'), syntax: z.enum(['lark', 'regex']), definition: z.string() }),
    ]),
  ),
});
const Namespace = object({
  type: z.literal('namespace'),
  name: z.string().min(1),
  description: z.string().nullish(),
  tools: z.array(z.discriminatedUnion('type', [FunctionTool, CustomTool])),
});
const Hosted = z.looseObject({ type: z.enum(leftOutTools) });

/** A tool as this wire declares it, as the plain functions that it stands for elsewhere. */
export const Tools = z
  .array(z.discriminatedUnion('type', [FunctionTool, CustomTool, Namespace, Hosted]))
  .transform((tools) => tools.flatMap(toPivot));

function toPivot(
  tool: z.infer<typeof FunctionTool | typeof CustomTool | typeof Namespace | typeof Hosted>,
): PivotTool[] {
  switch (tool.type) {
    case 'function':
      return [toFunction(tool)];
    case 'custom':
      return [toTextFunction(tool)];
    case 'namespace':
      return tool.tools.map((each) =>
        each.type === 'custom' ? toTextFunction(each, tool.name) : toFunction(each, tool.name),
      );
    default:
      return [];
  }
}

function toFunction(
  { name, description, parameters, strict }: z.infer<typeof FunctionTool>,
  namespace?: string,
): PivotTool {
  return {
    name: flatName({ name, namespace }),
    description: description ?? undefined,
    schema: parameters ?? { type: 'object', properties: {} },
    strict: strict ?? undefined,
    ...(namespace === undefined ? {} : { origin: { kind: 'function', name, namespace } }),
  };
}

const textSchema = {
  type: 'object',
  properties: { input: { type: 'string', description: 'The whole input of the tool.' } },
  required: ['input'],
  additionalProperties: false,
};

/** A custom tool takes a free text: elsewhere that is the one argument of a function. */
function toTextFunction({ name, description, format }: z.infer<typeof CustomTool>, namespace?: string): PivotTool {
  const grammar =
    format?.type === 'grammar' ? `The input must fit this ${format.syntax} grammar:\n${format.definition}` : undefined;
  const said = [description, grammar].filter((text) => text).join('\n\n');
  return {
    name: flatName({ name, namespace }),
    description: said === '' ? undefined : said,
    schema: textSchema,
    origin: { kind: 'custom', name, namespace },
  };
}

/** A custom tool's input as the arguments of the function that stands for it, and back. */
export const argsOfInput = (input: string): string => JSON.stringify({ input });
export function inputOfArgs(args: string): string {
  const input = parseObject(args)?.input;
  return typeof input === 'string' ? input : args;
}

/** How the client calls the tool that a model has called. */
export const originOf = (tools: readonly PivotTool[], { name }: Pick<CallPart, 'name'>): ToolOrigin =>
  tools.find((tool) => tool.name === name)?.origin ?? { kind: 'function', name };

/** A declaration as it is told in a response. */
export function writeTool({ name, description, schema, strict, origin }: PivotTool): JsonObject {
  const said = { name: origin?.name ?? name, description: description ?? null };
  if (origin?.kind === 'custom') return { type: 'custom', ...said };
  return { type: 'function', ...said, parameters: schema, strict: strict ?? null };
}
