import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { madeSecret, openStack, wanted } from '#test/helpers/stack.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';

// What keeps the stack from starting, and what is said about it.

const stackTest = wanted ? test.serial : test.serial.skip;
const stderrOf = (error: unknown) => String((error as { stderr?: string }).stderr);

stackTest('a secret that is missing stops up at once, with the way to make one', async (t) => {
  for (const name of ['JWT_SECRET', 'REDIS_PASSWORD', 'GRAFANA_PASSWORD']) {
    const error = await t.throwsAsync(openStack({ without: name }));
    t.regex(stderrOf(error), new RegExp(`${name}.*is not set in \\.env; make one with openssl rand`), name);
  }
});

stackTest('a placeholder and a bad value stop up before any service starts, each with its line', async (t) => {
  t.timeout(120_000);
  await using stack = await openStack({
    settings: {
      JWT_SECRET: 'change-me-change-me-change-me-change-me',
      GRAFANA_PASSWORD: 'admin',
      TOOL_TIMEOUT: 'half',
    },
  });
  await stack.compose('build', 'check-settings');
  const error = await t.throwsAsync(stack.up());
  t.regex(stderrOf(error), /check-settings/);
  const said = await stack.compose('logs', '--no-color', 'check-settings');
  t.regex(said, /JWT_SECRET.*is a placeholder; make one with: openssl rand -base64 48/);
  t.regex(said, /GRAFANA_PASSWORD.*must have at least 8 characters|GRAFANA_PASSWORD.*is a placeholder/);
  t.regex(said, /TOOL_TIMEOUT got "half"/);
  t.notRegex(said, /change-me-change-me/);
  t.is(await stack.compose('ps', '-q', 'gateway', '--status', 'running'), '');
});

stackTest('secrets may come from files', async (t) => {
  t.timeout(180_000);
  await using folder = await temporaryFolder();
  await chmod(folder.path, 0o755);
  const settings: Record<string, string> = { PROMETHEUS_RETENTION: '1d' };
  for (const name of ['JWT_SECRET', 'REDIS_PASSWORD', 'GRAFANA_PASSWORD', 'NATS_PASSWORD']) {
    const file = join(folder.path, name);
    await writeFile(file, `${name === 'NATS_PASSWORD' ? 'a "quoted\\ pass' : ''}${madeSecret()}\n`, { mode: 0o644 });
    settings[name] = '';
    settings[`${name}_FILE`] = file;
  }
  await using stack = await openStack({ settings });
  await stack.up('gateway', 'scheduler', 'agent-runner', 'llm-proxy', 'store');
  const status = await stack.ask<{ ready: boolean }>('/status');
  t.true(status.ready);
  t.regex(await stack.shell('nats', 'cat /data/nats-auth/password'), /^a "quoted\\ pass/);
  t.is(await stack.shell('gateway', 'echo $JWT_SECRET'), '');
});

stackTest('production takes no demo provider', async (t) => {
  await using stack = await openStack({
    overlays: ['compose/production.yaml'],
    settings: { LLM_PROVIDER: 'demo', AGENT_RUNNER_CPUS: '2.0' },
  });
  await t.throwsAsync(stack.compose('run', '--rm', 'check-settings'), {
    message: /LLM_PROVIDER.*takes anthropic or openai in production/,
  });
});
