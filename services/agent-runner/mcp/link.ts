import { setTimeout as delay } from 'node:timers/promises';
import type { McpServer } from '#shared/contracts/mcp.ts';
import { Failure } from '#shared/errors.ts';
import type { McpTool, Offered } from './catalog.ts';
import { printsOf, readCatalog } from './catalog.ts';
import type { McpIo } from './line.ts';
import { readSecrets } from './secrets.ts';
import type { Session } from './session.ts';
import { openSession } from './session.ts';

const attemptsMax = 2;
const failuresMax = 6;
const backoffMs = 200;
const backoffMsMax = 5_000;

/** A server across its deaths: what it offered at first, and the session with it for now. */
export type Link = {
  tools: readonly Offered[];
  problems: readonly string[];
  protocol: string;
  /** The session, made anew if it has ended, its tools looked at again if they may have changed. */
  ready(): Promise<Session>;
  hasChanged(tool: McpTool): boolean;
  /** Says that it answered: what was counted against it is forgotten. */
  worked(): void;
  close(): Promise<void>;
};

export async function openLink(server: McpServer, io: McpIo): Promise<Link> {
  const opening = { server, io, secrets: readSecrets(server, io.secret) };
  const changed = new Set<string>();
  let session = await openSession(opening);
  const catalog = await listFirst(server, session);
  let failures = 0;
  let closed = false;
  let refreshing: Promise<Session> | undefined;

  const look = async (at: Session) => {
    const prints = tryPrints(await at.listTools());
    for (const { original, print } of catalog.tools) if (prints.get(original) !== print) changed.add(original);
  };
  const reopen = async (): Promise<Session> => {
    let last: unknown;
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      if (failures >= failuresMax)
        throw new Failure('unavailable', 'has ended too often without an answer, and is not started again');
      await delay(Math.min(backoffMs * 2 ** failures, backoffMsMax) * (0.5 + Math.random() / 2));
      failures += 1;
      if (closed) break;
      try {
        const next = await openSession(opening, session);
        session = next;
        await look(next);
        return next;
      } catch (error) {
        last = error;
        await session.close();
      }
    }
    throw last ?? new Failure('unavailable', 'is not connected any longer');
  };
  const refresh = async (): Promise<Session> => {
    if (closed) throw new Failure('unavailable', 'is not connected any longer');
    if (session.hasEnded()) return await reopen();
    if (session.isStale()) await look(session);
    return session;
  };

  return {
    ...catalog,
    protocol: session.protocol,
    ready() {
      refreshing ??= refresh().finally(() => {
        refreshing = undefined;
      });
      return refreshing;
    },
    hasChanged: ({ original }) => changed.has(original),
    worked() {
      failures = 0;
    },
    async close() {
      closed = true;
      await refreshing?.catch(() => undefined);
      await session.close();
    },
  };
}

/** A list that cannot be read is one in which no tool is what it was. */
function tryPrints(list: readonly unknown[]): Map<string, string> {
  try {
    return printsOf(list);
  } catch {
    return new Map();
  }
}

async function listFirst(server: McpServer, session: Session) {
  try {
    return readCatalog(server, await session.listTools());
  } catch (error) {
    await session.close();
    throw error;
  }
}
