import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { McpServer } from '#shared/contracts/mcp.ts';
import { messageOf } from '#shared/errors.ts';
import { scrub } from '#shared/secrets.ts';
import type { Checked } from './arguments.ts';
import { createCheck } from './arguments.ts';
import { isMeant, namesOf } from './names.ts';
import type { Schema } from './schema.ts';
import { isDeeperThan, readSchema } from './schema.ts';
import { hides, tidy } from './text.ts';

const toolsMax = 128;
const schemaCharsMax = 256 * 1024;
/** More than any schema that is offered has: such a tool has changed. */
const printedLevelsMax = 64;
const descriptionCharsMax = 2_000;
const problemsMax = 20;

const Listed = z.object({
  name: z.string().min(1).max(128),
  description: z.string().optional(),
  inputSchema: z.unknown(),
});

/** A server's tool as a model is offered it. */
export type McpTool = {
  name: string;
  original: string;
  description: string;
  inputSchema: Schema;
  idempotent: boolean;
  readOnly: boolean;
};

/** A tool that is offered, with how its arguments are checked and what it was when the connection was made. */
export type Offered = McpTool & { print: string; check(args: unknown): Checked };

/** What a tool is to a model, as one value: it tells a tool that has changed. */
function printOf({ name, description = '', inputSchema }: z.output<typeof Listed>): string {
  if (isDeeperThan(printedLevelsMax, inputSchema)) return 'nested too deeply';
  return createHash('sha256')
    .update(JSON.stringify([name, description, inputSchema]))
    .digest('hex');
}

/** The tools of a list by their own names, each as one value. */
export function printsOf(list: readonly unknown[]): Map<string, string> {
  const prints = new Map<string, string>();
  for (const entry of list) {
    const { data } = Listed.safeParse(entry);
    if (data && !prints.has(data.name)) prints.set(data.name, printOf(data));
  }
  return prints;
}

/** The tools of a list that are offered to models, and what is wrong with those that are not. */
export function readCatalog(server: McpServer, list: readonly unknown[]): { tools: Offered[]; problems: string[] } {
  const found = new Map<string, Omit<McpTool, 'name'> & { print: string }>();
  const problems: string[] = [];
  let chars = 0;
  for (const entry of list) {
    const { data } = Listed.safeParse(entry);
    if (data && !isMeant(server.tools, data.name)) continue;
    try {
      const tool = readTool(server, data);
      chars += JSON.stringify(tool.inputSchema).length;
      if (found.has(tool.original)) throw new Error('its name is used twice');
      if (found.size >= toolsMax) throw new Error(`there are more than ${toolsMax} tools`);
      if (chars > schemaCharsMax) throw new Error(`the input schemas have more than ${schemaCharsMax} characters`);
      found.set(tool.original, tool);
    } catch (error) {
      if (problems.length < problemsMax)
        problems.push(`tool ${JSON.stringify(tidy(data?.name ?? '', 100))} is left out: ${messageOf(error)}`);
    }
  }
  const names = namesOf(server.name, [...found.keys()]);
  const tools = [...found.values()].map((tool, index) => {
    const name = names[index] ?? '';
    return { name, ...tool, check: createCheck(name, tool.inputSchema) };
  });
  return { tools, problems };
}

function readTool(server: McpServer, listed: z.output<typeof Listed> | undefined) {
  if (!listed)
    throw new Error('it is not a tool: it needs a name of 1 to 128 characters, and its description must be a text');
  const { name: original, description = '' } = listed;
  if (hides(original)) throw new Error('its name holds hidden characters');
  if (scrub(original) !== original) throw new Error('its name holds a secret');
  const readOnly = isMeant(server.read_only, original);
  return {
    original,
    description: tidy(description, descriptionCharsMax),
    inputSchema: readSchema(listed.inputSchema),
    idempotent: readOnly,
    readOnly,
    print: printOf(listed),
  };
}
