import type { Duplex } from 'node:stream';
import { finished } from 'node:stream/promises';
import { readAgentsFile } from '#shared/agents-file.ts';
import type { McpServer } from '#shared/contracts/mcp.ts';
import { isFor } from '#shared/contracts/repository.ts';
import { isOffered } from '#shared/domain/grants.ts';
import { messageOf } from '#shared/errors.ts';
import { createFetch } from './egress/create-fetch.ts';
import type { Egress } from './egress/egress.ts';
import { openEgress } from './egress/egress.ts';
import type { Runner } from './execute.ts';
import type { Journal } from './journal.ts';
import type { McpConnection } from './mcp/connect.ts';
import { connectMcp } from './mcp/connect.ts';
import { aliasesOf } from './mcp/names.ts';
import type { McpProcess } from './mcp/stdio.ts';
import type { BoxedTool, Outcome } from './toolbox.ts';
import type { Image } from './tools/tool.ts';
import { exemptOf } from './way-out.ts';
import type { Workbench } from './workbench.ts';

type ServerTool = BoxedTool & { description: string; inputSchema: Record<string, unknown> };

/** The MCP servers that an agent may use, and their tools under names of their own. */
export type Servers = {
  tools: readonly ServerTool[];
  find(name: string): ServerTool | undefined;
  [Symbol.asyncDispose](): Promise<void>;
};

type Options = { runner: Runner; journal: Journal; workbench: Workbench };

/** Connects to each server that the agent has as a capability. One that cannot be used is left out, and the log says why. */
export async function connectServers({ runner, journal, workbench }: Options): Promise<Servers> {
  const { config, logger } = runner;
  const { definition } = journal.run;
  await using stack = new AsyncDisposableStack();
  const granted = definition.capabilities.primary.concat(definition.capabilities.secondary);
  const names = granted.filter((name) => name.startsWith('mcp:')).map((name) => name.slice('mcp:'.length));
  const tools: ServerTool[] = [];
  const known = names.length > 0 ? readAgentsFile(config.CONFIG_FILE).mcpServers : [];
  for (const name of new Set(names)) {
    const server = known.find((each) => each.name === name);
    const warn = (reason: string) =>
      logger.warn({ runId: journal.run.id, server: name, reason }, 'an MCP server is not used');
    if (!server) {
      warn('there is no [[mcp_servers]] of that name that could be read');
      continue;
    }
    if (!isFor(server.workstreams, definition.workstream)) {
      warn(`it is not for the workstream ${JSON.stringify(definition.workstream)}: see its workstreams`);
      continue;
    }
    try {
      const egress = server.url ? stack.use(wayTo(server, runner, definition.workstream)) : undefined;
      const connection = stack.use(await connectMcp(server, ioOf(runner, workbench, egress)));
      for (const problem of connection.problems) warn(problem);
      tools.push(...connection.tools.map((tool) => boxed(server, connection, tool, workbench)));
    } catch (error) {
      warn(messageOf(error));
    }
  }
  const owned = stack.move();
  const offered = tools.filter((tool) => isOffered(definition, tool));
  return {
    tools: offered,
    find: (name) => tools.find((tool) => tool.name === name),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** A server's own address, and nothing else: whoever wrote the server down has allowed it. */
function wayTo(server: McpServer, { config }: Runner, workstream: string): Egress {
  const { hostname, port, protocol } = new URL(server.url ?? '');
  const usual = protocol === 'https:' ? '443' : '80';
  return openEgress({ allow: [`${hostname}:${port || usual}`], exempt: exemptOf(config, workstream) });
}

const ioOf = ({ secret }: Runner, workbench: Workbench, egress: Egress | undefined) => ({
  async start(command: string[], env: Record<string, string>, apart: boolean): Promise<McpProcess> {
    const stream: Duplex = await workbench.start({ command, env, apart });
    const ended = finished(stream).then(
      () => 'its process ended',
      () => 'its process ended',
    );
    return { stream, ended, kill: () => void stream.destroy() };
  },
  fetch: (egress ? createFetch(egress) : refuse) as typeof globalThis.fetch,
  secret,
});

const refuse = () => Promise.reject(new Error('this server has no address'));

function boxed(
  server: McpServer,
  connection: McpConnection,
  tool: McpConnection['tools'][number],
  workbench: Workbench,
): ServerTool {
  return {
    name: tool.name,
    aliases: aliasesOf(server.name, tool.original),
    description: tool.description,
    inputSchema: tool.inputSchema,
    needs: `mcp:${server.name}`,
    idempotent: tool.idempotent,
    readOnly: tool.readOnly,
    print: JSON.stringify([server.url ?? server.command, tool.print]),
    async call(_, args, signal): Promise<Outcome> {
      const { isError, text, images } = await connection.call(tool.name, args, { signal });
      const [image] = images;
      // A program in the sandbox can have changed the workspace.
      const snapshot = server.command && !tool.readOnly ? await workbench.saved() : undefined;
      return {
        isError,
        text,
        cpuSeconds: 0,
        peakBytes: 0,
        ...(snapshot ? { snapshot } : {}),
        ...(image
          ? { image: { mediaType: image.mediaType as Image['mediaType'], bytes: Buffer.from(image.base64, 'base64') } }
          : {}),
      };
    },
  };
}
