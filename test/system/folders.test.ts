import { existsSync, readdirSync, readFileSync } from 'node:fs';
import test from 'ava';
import type { z } from 'zod';
import * as llm from '#shared/contracts/llm.ts';
import * as store from '#shared/contracts/store.ts';
import { KeeperConfig } from '#shared/keeper/settings.ts';
import { aliases } from '#shared/settings.ts';

const services = readdirSync('services');

/** Settings of `npm start` itself, of the command line, and of who collects what is no longer needed. */
const launchers = [
  ...['TOKA_HOME', 'NATS_PORT', 'NATS_SYNC', 'REDIS_PORT', 'TOKA_URL', 'TOKA_TOKEN'],
  ...Object.keys(KeeperConfig.shape),
];

/** What compose's files take from .env. */
const composeText = [
  'compose.yaml',
  ...readdirSync('compose')
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => `compose/${name}`),
]
  .map((file) => readFileSync(file, 'utf8'))
  .join('\n');
const inCompose = [...new Set([...composeText.matchAll(/\$\{([A-Z][A-Z0-9_]*)/g)].map(([, name]) => name ?? ''))];

/** Names that other programs know, and names that are there for those who come from elsewhere. */
const notOurs = ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'NODE_USE_ENV_PROXY', ...Object.keys(aliases)];

async function settingsOf(service: string): Promise<string[]> {
  const { Config }: { Config: z.ZodObject } = await import(`../../services/${service}/config.ts`);
  return Object.keys(Config.shape);
}

test('each folder of services is one process with settings of its own', (t) => {
  t.deepEqual(services.toSorted(), ['agent-runner', 'gateway', 'llm-proxy', 'scheduler', 'store']);
  for (const service of services) {
    t.true(existsSync(`services/${service}/config.ts`), service);
    t.regex(
      readFileSync(`services/${service}/main.ts`, 'utf8'),
      new RegExp(`runService\\('${service}', Config, start\\)`),
    );
  }
});

test('.env.example has every setting, and none that does not exist', async (t) => {
  const written = [...readFileSync('.env.example', 'utf8').matchAll(/^# ([A-Z][A-Z0-9_]*)=/gm)].map(
    ([, name]) => name ?? '',
  );
  t.is(new Set(written).size, written.length, 'none is there twice');
  const composeSettings = inCompose.filter(
    (name) => !notOurs.includes(name) && (!name.endsWith('_FILE') || name.startsWith('TLS')),
  );
  const known = new Set([...(await Promise.all(services.map(settingsOf))).flat(), ...launchers, ...composeSettings]);
  t.deepEqual(written.toSorted(), [...known].toSorted());
});

test("llm-proxy names the providers in their wires' folders and among the models only", (t) => {
  const root = 'services/llm-proxy';
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
  const others = files.filter((file) => !/^(wires|models)\//.test(file) && file !== 'config.ts');
  t.true(others.length > 50);
  for (const file of others) t.notRegex(readFileSync(`${root}/${file}`, 'utf8'), /['"](anthropic|openai)['"]/, file);
});

test('each question is answered by one service', (t) => {
  const contracts = Object.entries({ ...store, ...llm }).flatMap(([name, value]) => ('subject' in value ? [name] : []));
  t.true(contracts.length > 10);
  const sources = services.map((service) =>
    readdirSync(`services/${service}`, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .map((file) => readFileSync(`services/${service}/${file}`, 'utf8'))
      .join('\n'),
  );
  for (const name of contracts) {
    const answering = sources.filter((text) => new RegExp(`\\banswer\\(\\s*(?:store\\.)?${name}\\b`).test(text));
    t.is(answering.length, 1, name);
  }
});
