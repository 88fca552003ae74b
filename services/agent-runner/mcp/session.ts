import type { CallToolResult } from '@modelcontextprotocol/client';
import { Client, ProtocolError, SdkError, SdkErrorCode } from '@modelcontextprotocol/client';
import { z } from 'zod';
import type { McpServer } from '#shared/contracts/mcp.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import { version } from '#shared/version.ts';
import type { McpTool } from './catalog.ts';
import type { Line, McpIo } from './line.ts';
import { openLine } from './line.ts';
import { tidy } from './text.ts';
import { before } from './wait.ts';

const listPagesMax = 16;
const listedMax = 1_000;
const messageCharsMax = 1_000;
const causesMax = 5;

const ListPage = z.object({ tools: z.array(z.unknown()), nextCursor: z.string().optional() });

/** One conversation with a server, from its handshake to its end. Its methods throw a Failure whose message goes after the server's name. */
export type Session = {
  protocol: string;
  era: 'modern' | 'legacy';
  /** All its tools, as it names them. */
  listTools(): Promise<unknown[]>;
  callTool(tool: McpTool, args: Record<string, unknown>, signal: AbortSignal): Promise<CallToolResult>;
  /** Whether it has said since the last list that its tools have changed. */
  isStale(): boolean;
  hasEnded(): boolean;
  close(): Promise<void>;
};

type Opening = { server: McpServer; io: McpIo; secrets: Record<string, string> };

/** Starts or reaches a server and agrees with it on a protocol: on that of `earlier`, if it was spoken to before. */
export async function openSession(opening: Opening, earlier?: Session): Promise<Session> {
  const { server } = opening;
  const deadline = AbortSignal.timeout(server.start_timeout * 1_000);
  try {
    return await converse(opening, deadline, earlier?.era === 'legacy' ? 'legacy' : 'auto');
  } catch (error) {
    // Some older servers end at a question that they do not know; those are asked none.
    if (!isNegotiation(error) || server.url !== undefined || earlier) throw startFailure(error, server, deadline);
  }
  try {
    return await converse(opening, deadline, 'legacy');
  } catch (error) {
    throw startFailure(error, server, deadline);
  }
}

function startFailure(error: unknown, server: McpServer, deadline: AbortSignal): Failure {
  if (error instanceof Failure) return error;
  if (deadline.aborted || isTimeout(error)) return new Failure('timeout', `was not ready in ${server.start_timeout} s`);
  return new Failure('unavailable', `could not be started: ${explain(error)}`);
}

type State = { broken: Failure | undefined; ended: boolean; stale: boolean };
type Talk = { client: Client; line: Line; state: State };

const whyOf = async ({ line, state }: Talk) => state.broken?.message ?? tidy(await line.why(), messageCharsMax);

async function converse(opening: Opening, deadline: AbortSignal, mode: 'auto' | 'legacy'): Promise<Session> {
  const state: State = { broken: undefined, ended: false, stale: false };
  const startMs = opening.server.start_timeout * 1_000;
  const isProcess = opening.server.url === undefined;
  // An older program may not answer the first question: half the time is left to ask it in the older protocol.
  const probe = { timeoutMs: isProcess ? startMs / 2 : startMs };
  const client = new Client(
    { name: 'toka', version },
    { versionNegotiation: { mode, probe }, inputRequired: { autoFulfill: false } },
  );
  const line = await openLine({
    ...opening,
    deadline,
    broken(failure) {
      state.broken = failure;
      state.ended = true;
      void client.close().catch(() => undefined);
    },
  });
  line.transport.onclose = () => {
    state.ended = true;
  };
  client.setNotificationHandler('notifications/tools/list_changed', () => {
    state.stale = true;
  });
  const talk = { client, line, state };
  try {
    await before(deadline, client.connect(line.transport, { signal: deadline, timeout: startMs }));
  } catch (error) {
    const died = state.broken ?? (isProcess && state.ended && !deadline.aborted && !isNegotiation(error));
    const failure = died ? new Failure('unavailable', `ended before it was ready: ${await whyOf(talk)}`) : error;
    await line.close();
    throw failure;
  }
  // In the newer protocol a client asks to be told.
  if (client.getProtocolEra() === 'modern' && client.getServerCapabilities()?.tools?.listChanged)
    void client.listen({ toolsListChanged: true }, { timeout: startMs }).catch(() => undefined);
  return createSession(talk, opening.server);
}

const isTimeout = (error: unknown) => error instanceof SdkError && error.code === SdkErrorCode.RequestTimeout;
const isNegotiation = (error: unknown) => error instanceof SdkError && error.code === SdkErrorCode.EraNegotiationFailed;

function createSession(talk: Talk, server: McpServer): Session {
  const { client, line, state } = talk;
  const timeout = server.timeout * 1_000;
  const startMs = server.start_timeout * 1_000;
  const close = async () => {
    state.ended = true;
    await line.close();
  };
  const failureOf = async (error: unknown): Promise<Failure> => {
    if (state.ended) return new Failure('unavailable', `ended: ${await whyOf(talk)}`);
    const failure = answerFailure(error, server);
    if (failure.code === 'unavailable') await close();
    return failure;
  };
  return {
    protocol: client.getNegotiatedProtocolVersion() ?? '',
    era: client.getProtocolEra() ?? 'legacy',
    async listTools() {
      state.stale = false;
      try {
        return client.getServerCapabilities()?.tools ? await listAll(client, startMs) : [];
      } catch (error) {
        throw isTimeout(error)
          ? new Failure('timeout', `did not list its tools in ${server.start_timeout} s`)
          : await failureOf(error);
      }
    },
    async callTool({ original, inputSchema }, args, signal) {
      const toolDefinition = { name: original, inputSchema: { ...inputSchema, type: 'object' as const } };
      const options = { signal, timeout, maxTotalTimeout: timeout, toolDefinition };
      try {
        return await client.callTool({ name: original, arguments: args }, options);
      } catch (error) {
        signal.throwIfAborted();
        throw await failureOf(error);
      }
    },
    isStale: () => state.stale,
    hasEnded: () => state.ended,
    close,
  };
}

async function listAll(client: Client, timeout: number): Promise<unknown[]> {
  const tools: unknown[] = [];
  let cursor: string | undefined;
  for (let page = 0; page < listPagesMax && tools.length < listedMax; page++) {
    const request = { method: 'tools/list', ...(cursor === undefined ? {} : { params: { cursor } }) };
    const answer = await client.request(request, ListPage, { timeout });
    tools.push(...answer.tools.slice(0, listedMax - tools.length));
    cursor = answer.nextCursor;
    if (cursor === undefined) break;
  }
  return tools;
}

/** What went wrong with a question to a server that still lives; `unavailable`: it cannot be asked again. */
function answerFailure(error: unknown, server: McpServer): Failure {
  if (error instanceof Failure) return error;
  if (error instanceof ProtocolError) return new Failure('upstream', `refused: ${explain(error)}`);
  if (isTimeout(error)) return new Failure('timeout', `did not answer in ${server.timeout} s`);
  if (error instanceof SdkError && error.code === SdkErrorCode.UnsupportedResultType)
    return new Failure(
      'upstream',
      'asked for something in return (a person, a model or a folder), which it does not get',
    );
  if (error instanceof SdkError && error.code === SdkErrorCode.InvalidResult)
    return new Failure('upstream', 'answered with something that is no result');
  return new Failure('unavailable', `could not be asked: ${explain(error)}`);
}

/** An error's message and those of its causes. */
function explain(error: unknown): string {
  const messages: string[] = [];
  for (let at = error; at instanceof Error && messages.length < causesMax; at = at.cause)
    if (!messages.some((message) => message.includes(messageOf(at)))) messages.push(messageOf(at));
  return tidy(messages.join(': '), messageCharsMax);
}
