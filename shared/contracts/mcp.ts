import { z } from 'zod';
import { Workstreams } from './repository.ts';

const text = (max: number) => z.string().min(1, 'must not be empty').max(max, `must be at most ${max} characters`);
const globs = z.array(text(200)).max(100);
const values = z.record(z.string().max(200), z.string().max(10_000));

/** Headers that the protocol or HTTP itself sets. */
const reserved = /^(host|connection|content-length|content-type|transfer-encoding|accept|upgrade|mcp-.*)$/i;

/** An MCP server as a person writes it down: a program for the sandbox, or an address. */
export const McpServer = z
  .strictObject({
    name: z
      .string()
      .regex(/^[a-z0-9][a-z0-9-]{0,30}$/, 'must be 1 to 31 of a-z, 0-9 and "-", and start with a letter or a digit'),
    /** A program and its arguments; it speaks on its standard input and output, in the sandbox. */
    command: z.array(z.string().max(4_000)).min(1, 'needs a program').max(100).optional(),
    /** Where the server is reached by streamable HTTP. */
    url: text(2_000).optional(),
    /** Whether a server with secrets starts in the workspace, too, where what an agent has written may get at them. */
    in_workspace: z.boolean().default(false),
    env: values.default({}),
    headers: values.default({}),
    /** Variable or header → the runner's environment variable that holds its value. A bare token for Authorization is sent as Bearer. */
    secrets: z.record(z.string().max(200), z.string().max(200)).default({}),
    /** Whose agents may use it. Left out, all may; one with secrets must say it. */
    workstreams: Workstreams.optional(),
    /** Tools that are offered, with * for any part of a name. */
    tools: globs.default(['*']),
    /** Tools that change nothing: they may be called again after a crash. */
    read_only: globs.default([]),
    /** Seconds that a call may take. */
    timeout: z.number().positive().max(3_600).default(60),
    /** Seconds from starting it to its list of tools. */
    start_timeout: z.number().positive().max(600).default(20),
    result_chars_max: z.number().int().min(100).max(1_000_000).default(50_000),
  })
  .superRefine((server, context) => {
    if (context.issues.length > 0) return;
    for (const { path, message } of mistakes(server)) context.addIssue({ code: 'custom', path, message });
  });
export type McpServer = z.infer<typeof McpServer>;

type Mistake = { path: string[]; message: string };
type Written = Pick<McpServer, 'command' | 'url' | 'env' | 'headers' | 'secrets' | 'workstreams'>;

function mistakes({ command, url, env, headers, secrets, workstreams }: Written): Mistake[] {
  if (command && url)
    return [{ path: ['url'], message: 'is one too many: a server has either command or url, not both' }];
  const found: Mistake[] = [];
  if (!command && !url)
    found.push({ path: [], message: 'needs command = ["program", "argument"] or url = "https://…"' });
  if (workstreams === undefined && Object.keys(secrets).length > 0)
    found.push({
      path: [],
      message: 'has secrets, so it needs workstreams = ["…"]: those whose agents may use it, or ["*"] for all',
    });
  if (command?.[0]?.trim() === '') found.push({ path: ['command'], message: 'needs a program' });
  if (url !== undefined) found.push(...urlMistakes(url));
  for (const [unused, entries, other] of [
    ['headers', command ? headers : {}, 'env'],
    ['env', url ? env : {}, 'headers'],
  ] as const)
    if (Object.keys(entries).length > 0)
      found.push({
        path: [unused],
        message: `is not used by a server with ${command ? 'command' : 'url'}; it takes ${other}`,
      });
  const given = command ? env : headers;
  for (const name of new Set([...Object.keys(given), ...Object.keys(secrets)])) {
    const where = name in secrets ? 'secrets' : command ? 'env' : 'headers';
    const message = command ? variableMistake(name) : headerMistake(name);
    if (message) found.push({ path: [where, name], message });
    else if (where === 'secrets' && name in given)
      found.push({ path: ['secrets', name], message: `is in ${command ? 'env' : 'headers'} as well; write it once` });
  }
  for (const [name, value] of Object.entries(headers))
    if (/[^\t\x20-\x7e]/.test(value))
      found.push({ path: ['headers', name], message: 'must be printable ASCII on one line' });
  for (const [name, variable] of Object.entries(secrets))
    if (variableMistake(variable))
      found.push({
        path: ['secrets', name],
        message: 'must be the name of an environment variable of the runner, not the secret itself',
      });
  return found;
}

function urlMistakes(url: string): Mistake[] {
  const parsed = URL.parse(url);
  if (!parsed || !['http:', 'https:'].includes(parsed.protocol) || parsed.hostname === '')
    return [{ path: ['url'], message: 'must be an address that starts with https:// or http://' }];
  if (parsed.username || parsed.password)
    return [{ path: ['url'], message: 'holds a password; name a header in secrets instead' }];
  return [];
}

const variableMistake = (name: string) =>
  /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) ? undefined : 'is not the name of an environment variable';

function headerMistake(name: string): string | undefined {
  if (!/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/.test(name)) return 'is not the name of an HTTP header';
  return reserved.test(name) ? 'is a header that the protocol sets itself' : undefined;
}
