import test from 'ava';
import { connect } from 'nats';
import { z } from 'zod';
import { chat } from '#shared/contracts/llm.ts';
import { agentInput } from '#test/helpers/agents.ts';
import type { FakeRequest } from '#test/helpers/fake-provider.ts';
import { startFakeProvider } from '#test/helpers/fake-provider.ts';
import { passwordOf } from '#test/helpers/servers.ts';
import { startSystem, tokenOf } from '#test/helpers/system.ts';

const turns = 20;
const names = Array.from({ length: turns }, (_, index) => `notes-${index}.md`);
const Sent = z.object({
  workstream: z.string().optional(),
  priority: z.string().optional(),
  context: z.object({ count: z.number() }).optional(),
});

test('a run of twenty turns sends only what is new, and its model sees the whole conversation each time', async (t) => {
  const asked: FakeRequest[] = [];
  await using provider = await startFakeProvider({
    script: (request) => {
      if (request.forced === 'verdict') return { toolCalls: [{ tool: 'verdict', args: { pass: true, reasons: [] } }] };
      asked.push(request);
      const path = names[request.turns];
      return path
        ? { text: '', toolCalls: [{ tool: 'read_file', args: { path } }] }
        : { text: '', toolCalls: [{ tool: 'submit_deliverable', args: { summary: 'done', content: 'The end.' } }] };
    },
  });
  await using system = await startSystem({
    agents: '',
    files: Object.fromEntries(names.map((name) => [name, `# ${name}\n${'A line of notes.\n'.repeat(250)}`])),
    environment: {
      LLM_PROVIDER: 'openai',
      OPENAI_API_KEY: 'key-of-the-tests',
      OPENAI_BASE_URL: provider.openAiUrl,
      LLM_MODEL: 'gpt-test',
      RATE_LIMIT_REQUESTS: '1000',
    },
  });
  const calls: { bytes: number; sent: z.infer<typeof Sent> }[] = [];
  // Questions stay in the services' account; beside the proxies' queue group, each is heard once more.
  const nc = await connect({ servers: system.nats.url, user: 'llm-proxy', pass: passwordOf('llm-proxy') });
  nc.subscribe(chat.subject, {
    callback: (_error, msg) => void calls.push({ bytes: msg.data.byteLength, sent: Sent.parse(msg.json()) }),
  });
  await nc.flush();
  const headers = { authorization: `Bearer ${await tokenOf('admin')}`, 'content-type': 'application/json' };
  const agent = agentInput({ name: 'reader', repository: `${system.folder}/repository`, priority: 'high' });
  const made = await fetch(`${system.api}/agents`, { method: 'POST', headers, body: JSON.stringify(agent) });
  t.is(made.status, 201, await made.text());
  const end = await system.saw(({ type }) => /^toka\.run\.(completed|failed)/.test(type), 90_000);
  t.is(end.type, 'toka.run.completed.v1', JSON.stringify(end.data));
  await nc.close();

  t.is(asked.length, turns + 1);
  for (const [index, { messages, system: prompt, tools }] of asked.entries()) {
    t.is(messages.length, 1 + 2 * index);
    t.deepEqual(messages.slice(0, asked[index - 1]?.messages.length ?? 0), asked[index - 1]?.messages ?? []);
    t.true(prompt.includes('"reader"') && tools.read_file !== undefined);
  }
  const ofRun = calls.filter(({ sent }) => sent.context);
  t.deepEqual(
    ofRun.map(({ sent }) => sent.context?.count),
    asked.map((_, index) => Math.max(0, 2 * index - 1)),
  );
  for (const { sent } of calls) t.like(sent, { workstream: 'main', priority: 'high' });
  const bytes = ofRun.slice(1).map((each) => each.bytes);
  t.true(Math.max(...bytes) < 1.2 * Math.min(...bytes.slice(0, -1)), `no call grows: ${bytes.join(' ')}`);
  const whole = asked.reduce((sum, { conversation }) => sum + conversation.length, 0);
  t.true(bytes.reduce((sum, each) => sum + each, 0) < whole / 5, `all together less than a fifth of ${whole}`);
});
