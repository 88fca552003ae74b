import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { createLogger } from '#shared/log.ts';
import type { Metrics } from '#shared/metrics.ts';
import { createMetrics } from '#shared/metrics.ts';
import { readSecret, readSettings } from '#shared/settings.ts';
import { Config } from '../../services/llm-proxy/config.ts';
import { openModels } from '../../services/llm-proxy/models/open.ts';
import type { Models, Target } from '../../services/llm-proxy/models/target.ts';
import { temporaryFolder } from './temporary.ts';

/** The models of one models.toml in a folder of their own. */
export type TestModels = {
  models: Models;
  metrics: Metrics;
  folder: string;
  /** All that was logged. */
  log(): string;
  /** Puts another text into the file. */
  write(text: string): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** Opens them as the llm-proxy does, with this environment. */
export async function startModels(text: string, environment: Record<string, string> = {}): Promise<TestModels> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const file = join(folder.path, 'models.toml');
  await writeFile(file, text);
  const config = readSettings(Config, { CONFIG_FILE: 'none', MODELS_FILE: file, ...environment });
  let log = '';
  const out = new Writable({
    write(chunk, _encoding, done) {
      log += chunk;
      done();
    },
  });
  const metrics = createMetrics('llm-proxy', 'test', 10);
  const logger = createLogger('llm-proxy', 'test', 'info', out);
  const secret = (name: string) => readSecret(environment, name);
  const models = openModels(config, secret, stack, logger, metrics, 20);
  const owned = stack.move();
  return {
    ...{ models, metrics, folder: folder.path },
    log: () => log,
    write: (next) => writeFile(file, next),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** A models.toml of this text in a folder. */
export async function modelsFileIn(folder: string, text: string): Promise<string> {
  const file = join(folder, 'models.toml');
  await writeFile(file, text);
  return file;
}

/** A listed model of the file, at a price of nought. */
export const modelEntry = (id: string, provider: string, more = '') =>
  `[[models]]\nid = "${id}"\nprovider = "${provider}"\ninput_usd_per_mtok = 0\ncached_input_usd_per_mtok = 0\noutput_usd_per_mtok = 0\n${more}\n`;

export const endpointEntry = (name: string, more = '', url = 'http://127.0.0.1:1/v1') =>
  `[[endpoints]]\nname = "${name}"\nwire = "openai"\nbase_url = "${url}"\n${more}\n`;

/** `endpoint/model` of each. */
export const namesOf = (targets: readonly Target[]) =>
  targets.map(({ endpoint, model }) => `${endpoint.name}/${model}`);
