import { z } from 'zod';
import { AgentSpec } from '#shared/contracts/agent.ts';
import { KeyTerms } from '#shared/contracts/key.ts';
import {
  AgentStatus,
  AgentView,
  ApprovalView,
  EventView,
  KeyView,
  RunView,
  StepView,
  UsageRow,
  WebhookView,
} from '#shared/contracts/store.ts';
import { Problem } from './problems.ts';

/** Those that have a name of their own; all else is written where it stands. */
const names = z.registry<{ id: string }>();
for (const [id, schema] of Object.entries({
  ...{ AgentSpec, AgentStatus, KeyTerms, Problem, UsageRow },
  ...{ Agent: AgentView, Approval: ApprovalView, Event: EventView, Key: KeyView, Run: RunView, Step: StepView },
  Webhook: WebhookView,
}))
  names.add(schema, { id });

type Json = Record<string, unknown>;

/** What `describe` said lies in zod's own registry, which one with names takes the place of. */
function describe({
  zodSchema,
  jsonSchema,
}: {
  zodSchema: z.core.$ZodTypes;
  jsonSchema: z.core.JSONSchema.BaseSchema;
}) {
  const description = z.globalRegistry.get(zodSchema)?.description;
  if (description) jsonSchema.description = description;
}

/** Writes schemas as JSON Schema 2020-12, and collects those that have a name. */
export function createSchemas() {
  const components: Record<string, Json> = {};
  return {
    components,
    /** `input`: as it is sent, where what has a default may be missing. */
    of(schema: z.core.$ZodType, io: 'input' | 'output'): Json {
      const nameOf = (id: string) => (io === 'input' ? `${id}Input` : id);
      const whole: Json = z.toJSONSchema(schema, { io, unrepresentable: 'any', metadata: names, override: describe });
      const { $schema: _, $defs = {}, ...own } = moved(whole, nameOf);
      for (const [id, each] of Object.entries($defs as Record<string, Json>)) {
        const { id: _id, ...rest } = each;
        components[nameOf(id)] = rest;
      }
      return own;
    },
  };
}
export type Schemas = ReturnType<typeof createSchemas>;

/**
 * With references to where named schemas lie in an OpenAPI document, and without patterns that need Unicode's properties: many readers of such
 * documents take them for something else. They are checked all the same.
 */
const moved = (schema: Json, nameOf: (id: string) => string): Json =>
  JSON.parse(JSON.stringify(schema), (key, value) => {
    if (key === 'pattern' && typeof value === 'string' && value.includes('\\p{')) return undefined;
    if (key !== '$ref' || typeof value !== 'string') return value;
    return value.replace(/^#\/\$defs\/(.*)$/, (_, id) => `#/components/schemas/${nameOf(id)}`);
  });
