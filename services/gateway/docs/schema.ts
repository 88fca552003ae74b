import type { Html } from './html.ts';
import { html, inline } from './html.ts';

export type Schema = { [keyword: string]: unknown };

const nameOf = (ref: unknown): string => String(ref).split('/').at(-1) ?? '';
const list = (value: unknown): Schema[] => (Array.isArray(value) ? value : []);

/** What kind of value a schema takes, in a few words. */
function kindOf(schema: Schema): Html {
  if (schema.$ref) return html`<a href="#schema-${nameOf(schema.$ref)}">${nameOf(schema.$ref)}</a>`;
  if ('const' in schema) return html`${JSON.stringify(schema.const)}`;
  if (Array.isArray(schema.enum)) return html`${schema.enum.map((each) => JSON.stringify(each)).join(' | ')}`;
  const choices = [...list(schema.anyOf), ...list(schema.oneOf)];
  if (choices.length > 0) return html`${joined(choices.map(kindOf))}`;
  if (schema.type === 'array') return html`list of ${kindOf((schema.items ?? {}) as Schema)}`;
  const types = [schema.type ?? 'any'].flat().map(String);
  return html`${types.join(' | ')}${schema.format ? ` (${schema.format})` : ''}`;
}

const joined = (parts: readonly Html[]): Html[] => parts.map((part, index) => html`${index > 0 ? ' | ' : ''}${part}`);

/** What it must be besides. */
function boundsOf(schema: Schema): string {
  const { minimum, maximum, minLength, maxLength, minItems, maxItems, pattern, format, default: standard } = schema;
  const span = (what: string, min: unknown, max: unknown) => {
    const bounds = [...(min === undefined ? [] : [`from ${min}`]), ...(isOpen(max) ? [] : [`to ${max}`])];
    return bounds.length > 0 ? [`${what}${bounds.join(' ')}`] : [];
  };
  return [
    ...span('', minimum, maximum),
    ...span('characters: ', minLength, maxLength),
    ...span('items: ', minItems, maxItems),
    // That of a format is the format once more, and long.
    ...(typeof pattern === 'string' && format === undefined ? [pattern] : []),
    ...(standard === undefined ? [] : [`default ${JSON.stringify(standard)}`]),
  ].join(', ');
}

const isOpen = (max: unknown) => max === undefined || max === Number.MAX_SAFE_INTEGER;

/** The objects in a schema that have fields of their own: itself, its items, its choices. */
function partsOf(schema: Schema): Schema[] {
  if (schema.properties) return [schema];
  const inside = [schema.items, ...list(schema.anyOf), ...list(schema.oneOf)];
  return inside.flatMap((each) => (each && typeof each === 'object' ? partsOf(each as Schema) : []));
}

/** A schema's fields, those within fields too. */
export function fieldsOf(schema: Schema): Html {
  const parts = partsOf(schema);
  if (parts.length === 0) return html`<p>${kindOf(schema)} <small>${boundsOf(schema)}</small></p>`;
  return html`${parts.map(
    ({ properties, required }) =>
      html`<dl>${Object.entries(properties as Record<string, Schema>).map(([name, field]) =>
        fieldOf(name, field, Array.isArray(required) && required.includes(name)),
      )}</dl>`,
  )}`;
}

/** One field or parameter. */
export const fieldOf = (name: string, schema: Schema, isRequired: boolean, description?: string): Html => {
  const about = description ?? (schema.description as string | undefined);
  return html`<dt><code>${name}</code>${isRequired ? html`<b title="required">*</b>` : undefined}</dt>
<dd><span class="kind">${kindOf(schema)}</span> <small>${boundsOf(schema)}</small>${about ? html` ${inline(about)}` : undefined}
${schema.$ref || partsOf(schema).length === 0 ? undefined : fieldsOf(schema)}</dd>`;
};
