import type { McpServer } from '#shared/contracts/mcp.ts';
import { Failure } from '#shared/errors.ts';
import type { McpTool } from './catalog.ts';
import type { McpIo } from './line.ts';
import type { Link } from './link.ts';
import { openLink } from './link.ts';
import type { McpResult } from './result.ts';
import { readResult } from './result.ts';
import { before } from './wait.ts';

/** The tools of one MCP server, for as long as a run uses them. */
export type McpConnection = {
  tools: readonly (McpTool & { print: string })[];
  /** Tools that are not offered, and why. */
  problems: readonly string[];
  /** The revision of the protocol that both speak, such as 2026-07-28. */
  protocol: string;
  /** Calls a tool. Whatever is wrong with the call or the server is in the result; it throws only when `signal` is aborted. */
  call(name: string, args: unknown, options: { signal: AbortSignal }): Promise<McpResult>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** Connects to a server. Throws a Failure that names it where it cannot be used. */
export async function connectMcp(server: McpServer, io: McpIo): Promise<McpConnection> {
  const named = (message: string) => `MCP server "${server.name}" ${message}`;
  const link = await openLink(server, io).catch((error: unknown) => {
    throw error instanceof Failure ? new Failure(error.code, named(error.message)) : error;
  });
  return {
    tools: link.tools.map(({ check: _, ...tool }) => tool),
    problems: link.problems,
    protocol: link.protocol,
    async call(name, args, { signal }) {
      signal.throwIfAborted();
      try {
        return await callTool(link, server, { name, args, signal });
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof Failure)) throw error;
        return refusal(`${named(error.message)}.`);
      }
    },
    [Symbol.asyncDispose]: () => link.close(),
  };
}

const refusal = (text: string): McpResult => ({ isError: true, text, images: [] });

type Call = { name: string; args: unknown; signal: AbortSignal };

async function callTool(link: Link, server: McpServer, { name, args, signal }: Call): Promise<McpResult> {
  const tool = link.tools.find((each) => each.name === name);
  if (!tool)
    return refusal(
      `There is no tool ${JSON.stringify(name.slice(0, 100))} of MCP server "${server.name}". Tools that it has got since this run connected to it come with the next run.`,
    );
  const checked = tool.check(args);
  if ('problem' in checked) return refusal(checked.problem);
  const session = await before(signal, link.ready());
  if (link.hasChanged(tool))
    return refusal(
      `MCP server "${server.name}": its tools have changed, and ${name} is not what it was when this run connected to it. It is not called; go on without it.`,
    );
  const result = await session.callTool(tool, checked.args, signal);
  link.worked();
  return readResult(result, server.result_chars_max);
}
