import type { Egress } from './egress/egress.ts';
import type { Runner } from './execute.ts';
import type { Journal } from './journal.ts';
import type { BoxedTool } from './toolbox.ts';
import type { Workbench } from './workbench.ts';

type ServerTool = BoxedTool & { description: string; inputSchema: Record<string, unknown> };

/** The MCP servers that an agent may use. */
export type Servers = {
  tools: readonly ServerTool[];
  find(name: string): BoxedTool | undefined;
  [Symbol.asyncDispose](): Promise<void>;
};

type Options = { runner: Runner; journal: Journal; workbench: Workbench; egress: Egress | undefined };

export async function connectServers(_: Options): Promise<Servers> {
  const tools: ServerTool[] = [];
  return { tools, find: (name) => tools.find((tool) => tool.name === name), async [Symbol.asyncDispose]() {} };
}
