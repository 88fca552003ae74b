import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { refusalOfAnthropic } from './anthropic-rules.ts';
import { parseResponses, sendResponses } from './fake-responses.ts';
import type { Common, Wire } from './fake-wires.ts';
import { parseAnthropic, parseOpenAi, sendAnthropic, sendOpenAi } from './fake-wires.ts';
import { refusalOfResponses } from './openai-rules.ts';

/** A request to a model, in the same words for both wire formats. */
export type FakeRequest = {
  wire: Wire;
  /** It came to OpenAI's responses, and not to its chat completions. */
  isResponses?: true;
  /** Epoch milliseconds at which it arrived. */
  timeMs: number;
  headers: IncomingHttpHeaders;
  /** The body as it came. */
  body: Record<string, unknown>;
  model: string;
  system: string;
  messages: { role: 'user' | 'assistant' | 'tool'; text: string; tools: string[]; isError: boolean }[];
  /** Everything that was said, system and results included: equal for equal requests. */
  conversation: string;
  /** How often the model has spoken. */
  turns: number;
  /** The tools offered, each with the names of its arguments. */
  tools: Record<string, string[]>;
  /** The one tool that must be called. */
  forced: string | undefined;
  stream: boolean;
  /** The prompt up to each mark of `cache_control`, in order. */
  cached: string[];
  /** `prompt_cache_key`. */
  cacheKey: string | undefined;
};

export type FakeAnswer = {
  text?: string;
  /** `raw` is sent as the arguments, whatever it is. */
  toolCalls?: { tool: string; args?: Record<string, unknown>; raw?: string; callId?: string }[];
  usage?: { inputTokens?: number; outputTokens?: number; cachedInputTokens?: number; cacheWriteTokens?: number };
  /** The wire's own word for why it stopped. */
  stopReason?: string;
  /** Thinking that Anthropic's wire sends before the text. */
  thinking?: string;
  signature?: string;
  model?: string;
  /** Of the answer itself. */
  id?: string;
};

/**
 * What may go wrong: an HTTP status; `hang`: nothing comes; `stall`: it stops in the middle and stays open; `cut`: the connection
 * breaks in the middle; `short`: the answer ends in the middle as if it were whole; `reset`: it breaks before anything came;
 * `malformed`: broken JSON; `html`: a web page; `error-event`: an error in the middle of the stream.
 */
export type FakeFault =
  | { status: number; headers?: Record<string, string>; message?: string }
  | { fault: 'hang' | 'stall' | 'cut' | 'short' | 'reset' | 'malformed' | 'html' | 'error-event' };

export type FakeReply = FakeAnswer | FakeFault;
export type FakeScript = (request: FakeRequest, count: number) => FakeReply | Promise<FakeReply>;

export type FakeProvider = {
  /** What ANTHROPIC_BASE_URL takes. */
  url: string;
  /** What OPENAI_BASE_URL takes. */
  openAiUrl: string;
  /** All that came, in order. */
  requests: FakeRequest[];
  /** Answers from now on by this script. */
  play(script: FakeScript): void;
  [Symbol.asyncDispose](): Promise<void>;
};

/** The settings of a system whose one provider is this, as Anthropic. */
export const anthropicAt = ({ url }: Pick<FakeProvider, 'url'>) => ({
  LLM_PROVIDER: 'anthropic',
  ANTHROPIC_API_KEY: 'key-of-the-tests',
  ANTHROPIC_BASE_URL: url,
  LLM_MODEL: 'claude-test',
});

type Options = { script?: FakeScript; delayMs?: number };

type Path = { parse(common: Common): FakeRequest; refusalOf(body: unknown): string | undefined };

const paths: ReadonlyMap<string | undefined, Path> = new Map<string, Path>([
  ['/v1/messages', { parse: parseAnthropic, refusalOf: refusalOfAnthropic }],
  ['/v1/chat/completions', { parse: parseOpenAi, refusalOf: () => undefined }],
  ['/v1/responses', { parse: parseResponses, refusalOf: refusalOfResponses }],
]);

/** A real HTTP server on loopback that speaks both providers' wire formats and answers as the script says. */
export async function startFakeProvider({ script = agentScript, delayMs = 0 }: Options = {}): Promise<FakeProvider> {
  let current = script;
  const requests: FakeRequest[] = [];
  const server = createServer(async (incoming, response) => {
    try {
      const chunks: Buffer[] = [];
      for await (const chunk of incoming) chunks.push(chunk);
      const body = z.record(z.string(), z.unknown()).parse(JSON.parse(Buffer.concat(chunks).toString()));
      const common = { timeMs: Date.now(), headers: incoming.headers, body };
      if (incoming.method !== 'POST') return void response.writeHead(405).end();
      const path = paths.get(incoming.url);
      if (!path) return void response.writeHead(404).end('{"error":{"message":"no such path"}}');
      const refusal = path.refusalOf(body);
      if (refusal !== undefined) {
        const error = { type: 'invalid_request_error', message: refusal };
        const told = incoming.url === '/v1/messages' ? { type: 'error', error } : { error };
        return void response.writeHead(400, { 'content-type': 'application/json' }).end(JSON.stringify(told));
      }
      const request = path.parse(common);
      requests.push(request);
      const count = requests.length;
      if (delayMs > 0) await delay(delayMs);
      await reply(response, request, await current(request, count));
    } catch (error) {
      response.writeHead(500).end(String(error));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (typeof address !== 'object' || !address) throw new Error('no port');
  const url = `http://127.0.0.1:${address.port}`;
  return {
    url,
    openAiUrl: `${url}/v1`,
    requests,
    play(next) {
      current = next;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function reply(response: ServerResponse, request: FakeRequest, answer: FakeReply): Promise<void> {
  if ('status' in answer) {
    const { status, headers = {}, message = `the fake's ${status}` } = answer;
    const error = { type: 'fake_error', message };
    const body = request.wire === 'anthropic' ? { type: 'error', error } : { error };
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
    return;
  }
  const fault = 'fault' in answer ? answer.fault : undefined;
  if (fault === 'hang') return;
  if (fault === 'reset') return void response.destroy();
  if (fault === 'html') {
    return void response
      .writeHead(200, { 'content-type': 'text/html' })
      .end('<html><body>Welcome to the portal</body></html>');
  }
  const whole: FakeAnswer = 'fault' in answer ? { text: 'An answer that will not come to its end' } : answer;
  const send = request.isResponses ? sendResponses : request.wire === 'anthropic' ? sendAnthropic : sendOpenAi;
  const frames = send(request, whole);
  if (!request.stream) {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(fault ? frames.whole.slice(0, -20) : frames.whole);
    return;
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  if (!fault) return void response.end(frames.events.join(''));
  const middle = Math.ceil(frames.events.length / 2);
  response.write(frames.events.slice(0, middle).join(''));
  // What was written is to arrive before the break does.
  await delay(20);
  if (fault === 'short') response.end();
  else if (fault === 'cut') response.destroy();
  else if (fault === 'malformed') response.end('event: message_delta\ndata: {"type": "message_del\n\n');
  else if (fault === 'error-event') response.end(frames.error);
}

const report = '# Report\n\nThe folder was listed and a file was read.\n';

/** An agent's model: lists the files, reads one, writes a report if it may, hands it in; and judges that all is well. */
export const agentScript: FakeScript = ({ forced, tools, turns }) => {
  const call = (tool: string, args: Record<string, unknown>): FakeAnswer => ({
    text: `Step ${turns + 1}.`,
    toolCalls: [{ tool, args }],
  });
  if (forced === 'verdict') return { toolCalls: [{ tool: 'verdict', args: { pass: true, reasons: [] } }] };
  if (!tools.submit_deliverable) return { text: 'The work is done.' };
  if (turns === 0) return call('list_files', { path: '.' });
  if (turns === 1) return call('read_file', { path: 'README.md' });
  const summary = 'A report on the folder.';
  if (!tools.write_file) return call('submit_deliverable', { summary, content: report });
  if (turns === 2) return call('write_file', { path: 'report.md', content: report });
  return call('submit_deliverable', { summary, path: 'report.md' });
};
