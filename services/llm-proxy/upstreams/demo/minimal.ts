import { z } from 'zod';

const depthMax = 4;
const Schema = z.object({
  type: z.unknown(),
  const: z.unknown(),
  default: z.unknown(),
  enum: z.array(z.unknown()).optional().catch(undefined),
  minimum: z.number().optional().catch(undefined),
  required: z.array(z.string()).catch([]),
  properties: z.record(z.string(), z.unknown()).catch({}),
});

/** The least that a tool's schema asks for, where it must be called and the rules do not know it. */
export function minimalArgs(schema: unknown, depth = 0): Record<string, unknown> {
  const parsed = Schema.safeParse(schema);
  if (!parsed.success || depth >= depthMax) return {};
  const { required, properties } = parsed.data;
  return Object.fromEntries(required.map((name) => [name, valueFor(own(properties, name), depth + 1)]));
}

/** Not what every object inherits, such as "constructor". */
const own = (properties: Record<string, unknown>, name: string) =>
  Object.hasOwn(properties, name) ? properties[name] : undefined;

function valueFor(schema: unknown, depth: number): unknown {
  const parsed = Schema.safeParse(schema);
  if (!parsed.success) return 'demo';
  const { type, const: only, default: usual, enum: choices, minimum } = parsed.data;
  if (only !== undefined) return only;
  if (usual !== undefined) return usual;
  if (choices && choices.length > 0) return choices[0];
  switch (type) {
    case 'integer':
    case 'number':
      return minimum ?? 0;
    case 'boolean':
      return false;
    case 'null':
      return null;
    case 'array':
      return [];
    case 'object':
      return minimalArgs(schema, depth);
    default:
      return 'demo';
  }
}
