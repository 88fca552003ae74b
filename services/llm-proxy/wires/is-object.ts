import type { JsonObject } from './pivot.ts';

/** Whether a value out of a JSON text is an object, and no list. */
export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
