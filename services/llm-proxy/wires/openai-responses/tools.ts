import { createHash } from 'node:crypto';
import { z } from 'zod';
import { Grammar, toTextFunction } from '../custom-tools.ts';
import { leftOutTools } from '../left-out.ts';
import type { JsonObject, PivotTool, ToolOrigin } from '../pivot.ts';
import { inner, maybe, ObjectSchema } from '../read.ts';

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
      object({ type: z.literal('grammar'), ...Grammar.shape }),
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
      return [toText(tool)];
    case 'namespace':
      return tool.tools.map((each) => (each.type === 'custom' ? toText(each, tool.name) : toFunction(each, tool.name)));
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

function toText({ name, description, format }: z.infer<typeof CustomTool>, namespace?: string): PivotTool {
  const grammar = format?.type === 'grammar' ? format : undefined;
  return toTextFunction(
    { name: flatName({ name, namespace }), description, grammar },
    { kind: 'custom', name, namespace },
  );
}

/** A declaration as it is told in a response. */
export function writeTool({ name, description, schema, strict, origin }: PivotTool): JsonObject {
  const said = { name: origin?.name ?? name, description: description ?? null };
  if (origin?.kind === 'custom') return { type: 'custom', ...said };
  return { type: 'function', ...said, parameters: schema, strict: strict ?? null };
}
