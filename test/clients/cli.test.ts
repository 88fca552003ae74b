import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import test from 'ava';
import { startHttpProxy } from '../helpers/http-proxy.ts';
import { temporaryFolder } from '../helpers/temporary.ts';
import { startProvider } from './provider.ts';

// These need some hundred megabytes of programs: `npm run test:agents` installs them.
const when = process.env.TOKA_AGENTS === '1' ? test.serial : test.skip;

const programs = fileURLToPath(new URL('cli/node_modules/.bin/', import.meta.url));
const secondsMax = 90;
const note = 'The blue heron stands in the reeds.';

type At = { url: string; key: string; model: string; folder: string };
type Command = { args: string[]; env: Record<string, string> };

/** An agent as its own pages say that it is pointed at a gateway and run without a terminal. */
const agents: Record<string, { models: [string, string]; command(at: At, prompt: string): Command }> = {
  'Claude Code 2.1.328': {
    models: ['claude-sonnet-5-5', 'gpt-6.1-terra'],
    command: ({ url, key, model }, prompt) => ({
      args: ['claude', '-p', prompt, '--model', model, '--allowedTools', 'Read'],
      env: { ANTHROPIC_BASE_URL: url, ANTHROPIC_AUTH_TOKEN: key, CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1' },
    }),
  },
  'Codex 0.169.0': {
    models: ['gpt-4.1', 'claude-sonnet-5-5'],
    command({ url, key, model, folder }, prompt) {
      const home = join(folder, 'codex');
      mkdirSync(home);
      writeFileSync(
        join(home, 'config.toml'),
        `model = "${model}"\nmodel_provider = "toka"\n[model_providers.toka]\nname = "toka"\nbase_url = "${url}/v1"\nenv_key = "TOKA_KEY"\nwire_api = "responses"\n`,
      );
      return {
        args: ['codex', 'exec', '--skip-git-repo-check', '--dangerously-bypass-approvals-and-sandbox', prompt],
        env: { CODEX_HOME: home, TOKA_KEY: key },
      };
    },
  },
  'OpenCode 1.18.33, openai': {
    models: ['gpt-4.1', 'claude-sonnet-4-6'],
    command: (at, prompt) => openCode(at, prompt, 'openai', `${at.url}/v1`),
  },
  'OpenCode 1.18.33, anthropic': {
    models: ['claude-sonnet-4-6', 'gpt-4.1'],
    command: (at, prompt) => openCode(at, prompt, 'anthropic', `${at.url}/v1`),
  },
};

function openCode({ key, model, folder }: At, prompt: string, provider: string, baseURL: string): Command {
  const config = { provider: { [provider]: { options: { baseURL, apiKey: key }, models: { [model]: {} } } } };
  writeFileSync(join(folder, 'opencode.json'), JSON.stringify(config));
  return { args: ['opencode', 'run', '-m', `${provider}/${model}`, prompt], env: {} };
}

async function runProgram({ args: [program = '', ...args], env }: Command, folder: string) {
  const child = spawn(join(programs, program), args, {
    cwd: folder,
    env: { PATH: process.env.PATH ?? '', HOME: folder, NO_COLOR: '1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let out = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (out += chunk));
  const late = setTimeout(() => child.pid && process.kill(-child.pid, 'SIGKILL'), secondsMax * 1_000);
  const [code] = await once(child, 'close');
  clearTimeout(late);
  return { code, out };
}

async function readsNote(t: ExecutionContext, name: string, path: 0 | 1): Promise<void> {
  t.timeout((secondsMax + 30) * 1_000);
  const agent = agents[name];
  const model = agent?.models[path];
  if (!agent || !model) return t.fail();
  await using provider = await startProvider();
  const environment = {
    OPENAI_BASE_URL: `${provider.url}/v1`,
    ANTHROPIC_BASE_URL: provider.url,
    RATE_LIMIT_REQUESTS: '100000',
  };
  await using proxy = await startHttpProxy('openai', { script: () => ({ text: 'nobody asks here' }), environment });
  await using temporary = await temporaryFolder();
  const folder = temporary.path;
  writeFileSync(join(folder, 'note.txt'), note);
  const command = agent.command(
    { url: proxy.url, key: proxy.key.secret, model, folder },
    `Please read the file ${join(folder, 'note.txt')} and say what it says.`,
  );
  const { code, out } = await runProgram(command, folder);
  t.is(code, 0, out.slice(-3_000));
  t.true(out.includes(`Now: `) && out.includes(note), out.slice(-3_000));
  t.log(`${provider.bodies.length} requests`);
}

for (const name of Object.keys(agents)) {
  when(`${name} reads a file by a model of its own wire`, (t) => readsNote(t, name, 0));
  when(`${name} reads a file by a model of the other wire`, (t) => readsNote(t, name, 1));
}
