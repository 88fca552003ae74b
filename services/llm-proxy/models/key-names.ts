import { readFileSync } from 'node:fs';
import { parse } from 'smol-toml';
import { z } from 'zod';

const Keys = z.object({ endpoints: z.array(z.object({ api_key: z.string().optional() })).default([]) });

/** The variables that a models.toml names for keys, for whoever starts the llm-proxy; none where it cannot be read: the proxy says why. */
export function keyNamesIn(file: string): string[] {
  try {
    const { endpoints } = Keys.parse(parse(readFileSync(file, 'utf8')));
    return [...new Set(endpoints.flatMap(({ api_key }) => api_key ?? []))];
  } catch {
    return [];
  }
}
