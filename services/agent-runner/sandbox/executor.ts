import { createReadStream, rmSync, statSync } from 'node:fs';
import type { Http2Server, IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { createServer } from 'node:http2';
import { createServer as createTcpServer, Socket } from 'node:net';
import { pipeline } from 'node:stream';
import { buffer, json } from 'node:stream/consumers';
import { z } from 'zod';
import { Failure, messageOf } from '#shared/errors.ts';
import { locate, openFile, openFolder, openRoot } from '../tools/confine.ts';
import { answerCall } from './answer.ts';
import { openJobs } from './jobs.ts';
import { openProcesses } from './processes.ts';
import { Process, paths, proxyPort, Question, Start } from './protocol.ts';
import type { Workspace } from './workspace.ts';
import { openWorkspace } from './workspace.ts';

// The process in a sandbox that does what the runner asks: HTTP/2 on the connection that it was started with as file 3. It holds no
// secret and reaches nothing but the workspace; when the connection ends, so does it.

const [folder = '/workspace', scratch = '/tmp', homes = '/homes', confine = ''] = process.argv.slice(2);
const connection = new Socket({ fd: 3, readable: true, writable: true });
connection.on('error', () => process.exit(0)).on('close', () => process.exit(0));
process.on('uncaughtException', (error) => {
  process.stderr.write(`${messageOf(error)}\n`);
});

const processes = openProcesses({ workspace: folder, scratch, homes, confine: confine === '' ? undefined : confine });
const jobs = openJobs(processes);
let workspace: Workspace | undefined;

const begun = (): Workspace => {
  if (!workspace) throw new Failure('invalid', 'the workspace was not begun');
  return workspace;
};

type Handler = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => Promise<void>;
const answer = (stream: ServerHttp2Stream, value: unknown) => {
  stream.respond({ ':status': 200 });
  stream.end(JSON.stringify(value));
};

const handlers: Record<string, Handler> = {
  async [paths.start](stream) {
    const start = Start.parse(await json(stream));
    processes.limit(start.processesMax, start.fileBytesMax);
    if (start.network) await listenForProxy();
    workspace = openWorkspace(folder, scratch, processes, start.author, start.branch);
    answer(stream, {});
  },
  async [paths.base](stream, headers) {
    const bundle = await buffer(stream);
    const commit = headers['x-commit'];
    const again = headers['x-again'] === 'true';
    await begun().begin(typeof commit === 'string' ? commit : null, bundle.byteLength > 0 ? bundle : null, again);
    answer(stream, {});
  },
  async [paths.restore](stream, headers) {
    const bundle = await buffer(stream);
    if (bundle.byteLength > 0) await begun().take(bundle);
    if (headers['x-last'] === 'true') await begun().restore();
    answer(stream, {});
  },
  async [paths.quiet](stream) {
    processes.quiet();
    answer(stream, {});
  },
  async [paths.snapshot](stream) {
    const saved = await begun().snapshot();
    if (saved) sendFile(stream, saved.bundle, { 'x-commit': saved.commit });
    else stream.respond({ ':status': 204 }, { endStream: true });
  },
  async [paths.close](stream) {
    const { message, globs } = z.object({ message: z.string(), globs: z.array(z.string()) }).parse(await json(stream));
    answer(stream, await begun().close(message, globs));
  },
  async [paths.diff](stream) {
    sendFile(stream, await begun().diff());
  },
  async [paths.bundle](stream) {
    sendFile(stream, await begun().bundle());
  },
  async [paths.file](stream) {
    const { path } = z.object({ path: z.string() }).parse(await json(stream));
    using root = openRoot(folder);
    const names = locate(root, path);
    using above = openFolder(root, names.slice(0, -1));
    using file = openFile(above, names.at(-1) ?? '.', path);
    stream.respond({ ':status': 200 });
    await new Promise<void>((resolve) =>
      pipeline(createReadStream('', { fd: file.fd, autoClose: false }), stream, () => resolve()),
    );
  },
  async [paths.call](stream) {
    const question = Question.parse(await json(stream));
    const abort = new AbortController();
    stream.once('close', () => abort.abort());
    answer(
      stream,
      await answerCall(question, { folder, scratch, processes, jobs, git: begun().identity, signal: abort.signal }),
    );
  },
  async [paths.process](stream, headers) {
    const { command, env, apart } = Process.parse(
      JSON.parse(Buffer.from(String(headers['x-process']), 'base64url').toString('utf8')),
    );
    const child = processes.start(command, { apart, env, stdio: ['pipe', 'pipe', 'ignore'] });
    const end = () => {
      processes.kill(child);
      processes.release(child);
      processes.sweep();
    };
    stream.once('close', end);
    child.once('exit', () => stream.close());
    stream.respond({ ':status': 200 });
    if (child.stdin) pipeline(stream, child.stdin, () => undefined);
    if (child.stdout) pipeline(child.stdout, stream, () => undefined);
  },
  /** Waits for a process that wants out; the stream is then that process's connection. */
  async [paths.egress](stream) {
    const out = waitingConnections.shift();
    if (out) join(stream, out);
    else {
      waitingStreams.add(stream);
      stream.once('close', () => waitingStreams.delete(stream));
    }
  },
};

function sendFile(stream: ServerHttp2Stream, file: string, headers: Record<string, string> = {}): void {
  stream.respond({ ':status': 200, 'content-length': statSync(file).size, ...headers });
  pipeline(createReadStream(file), stream, () => rmSync(file, { force: true }));
}

const connectionsMax = 64;
const waitingConnections: Socket[] = [];
const waitingStreams = new Set<ServerHttp2Stream>();

async function listenForProxy(): Promise<void> {
  const server = createTcpServer((out) => {
    out.on('error', () => undefined);
    const [stream] = waitingStreams;
    if (stream) {
      waitingStreams.delete(stream);
      join(stream, out);
    } else if (waitingConnections.length < connectionsMax) waitingConnections.push(out);
    else out.destroy();
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(proxyPort, '127.0.0.1', resolve));
  processes.useProxy();
}

function join(stream: ServerHttp2Stream, out: Socket): void {
  stream.respond({ ':status': 200 });
  pipeline(stream, out, () => undefined);
  pipeline(out, stream, () => undefined);
}

const server: Http2Server = createServer({ settings: { initialWindowSize: 1024 ** 2, maxConcurrentStreams: 200 } });
server.on('stream', (stream, headers) => {
  stream.on('error', () => undefined);
  const handle = handlers[String(headers[':path'])];
  const failed = (error: unknown) => {
    if (stream.destroyed || stream.headersSent) return stream.close();
    stream.respond({ ':status': error instanceof Failure ? 400 : 500 });
    return stream.end(messageOf(error).slice(0, 2_000));
  };
  if (handle) handle(stream, headers).catch(failed);
  else failed(new Failure('invalid', 'there is no such path'));
});
server.emit('connection', connection);
