import type { Transport } from '@modelcontextprotocol/client';
import type { McpServer } from '#shared/contracts/mcp.ts';
import type { Failure } from '#shared/errors.ts';
import { openHttp } from './http.ts';
import type { McpProcess } from './stdio.ts';
import { openStdio } from './stdio.ts';
import { before, within } from './wait.ts';

const endMsMax = 1_000;

/** What a server is started with and reached by. */
export type McpIo = {
  /** Starts a stdio server, in the sandbox; `apart`: in an empty folder of its own, and not in the workspace. */
  start(command: string[], env: Record<string, string>, apart: boolean): Promise<McpProcess>;
  fetch: typeof globalThis.fetch;
  /** A secret by the name of the runner's environment variable that holds it. */
  secret(name: string): string | undefined;
};

/** The way to a server, before anything is said. */
export type Line = {
  transport: Transport;
  /** Why it has ended. */
  why(): Promise<string>;
  close(): Promise<void>;
};

type Options = {
  server: McpServer;
  io: McpIo;
  secrets: Record<string, string>;
  deadline: AbortSignal;
  broken: (failure: Failure) => void;
};

export async function openLine({ server, io, secrets, deadline, broken }: Options): Promise<Line> {
  if (server.url !== undefined) {
    const headers = { ...server.headers, ...secrets };
    const transport = openHttp({ url: server.url, headers, fetch: io.fetch, broken });
    return {
      transport,
      why: async () => 'its connection was closed',
      async close() {
        await within(endMsMax, transport.terminateSession(), undefined);
        await transport.close();
      },
    };
  }
  // Whoever can write where a program looks for its parts gets at the secrets that it holds.
  const apart = Object.keys(secrets).length > 0 && !server.in_workspace;
  const starting = io.start([...(server.command ?? [])], { ...server.env, ...secrets }, apart);
  let process: McpProcess;
  try {
    process = await before(deadline, starting);
  } catch (error) {
    // One that comes up too late is ended as it does.
    void starting.then((late) => late.kill()).catch(() => undefined);
    throw error;
  }
  const transport = openStdio(process, broken);
  const why = () => within(endMsMax, process.ended, 'its output ended');
  return {
    transport,
    why,
    async close() {
      await transport.close();
      await why();
    },
  };
}
