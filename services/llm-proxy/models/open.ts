import { readFileSync, statSync } from 'node:fs';
import type { Problem } from '#shared/errors.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';
import type { Metrics } from '#shared/metrics.ts';
import { watchFile } from '#shared/watch-file.ts';
import type { Config } from '../config.ts';
import { createCatalog } from './catalog.ts';
import { checkModelsFile } from './check.ts';
import { createEndpoints, defaultModels, providerOf } from './endpoints.ts';
import { createKeyStore } from './key-store.ts';
import { parseModelsFile, problemLine } from './parse.ts';
import { rulesOf } from './rules.ts';
import type { ModelsFile } from './schema.ts';
import type { Models } from './target.ts';

const fileBytesMax = 4 * 1_048_576;

type Secret = (name: string) => string | undefined;

/**
 * Reads models.toml and follows its changes: a good file takes effect at once, a bad one is refused, with every problem in the log
 * and `llm_models_file_ok` at nought, and what was read before stays. Throws `invalid` where the first one is bad.
 */
export function openModels(
  config: Config,
  secret: Secret,
  stack: AsyncDisposableStack,
  logger: Logger,
  metrics: Metrics,
  lookMs = 1_000,
): Models {
  const keys = stack.use(createKeyStore(config.SECURE_ZERO_MEMORY));
  const endpoints = createEndpoints(config, keys);
  const provider = providerOf(config);
  const defaultModel = config.LLM_MODEL ?? defaultModels[provider];
  const read = () => {
    const file = readModelsFile(config.MODELS_FILE, secret);
    const catalog = createCatalog({ file, endpoints: endpoints.read(file.endpoints, secret), provider, defaultModel });
    return { ...catalog, rules: rulesOf(config, file), models: file.models.length };
  };
  let current = read();
  metrics.llmModelsFileOk.set(1);
  watchFile(
    stack,
    config.MODELS_FILE,
    async () => {
      try {
        current = read();
        metrics.llmModelsFileOk.set(1);
        logger.info({ file: config.MODELS_FILE, models: current.models }, 'the models were read anew');
      } catch (error) {
        metrics.llmModelsFileOk.set(0);
        const problems = messageOf(error).split('\n');
        logger.error({ problems }, `MODELS_FILE was refused (${problems[0]}); what was read before stays`);
      }
    },
    lookMs,
  );
  return {
    targets: (name, affinity) => current.targets(name, affinity),
    list: () => current.list(),
    isAlias: (name) => current.isAlias(name),
    rules: () => current.rules,
  };
}

/** The file, all checked. Throws `invalid` with a line for each problem. */
function readModelsFile(path: string, secret: Secret): ModelsFile {
  const { file, problems } = parseModelsFile(readBounded(path), (parsed) =>
    checkModelsFile(parsed, (variable) => Boolean(secret(variable))),
  );
  if (file) return file;
  throw new Failure('invalid', linesOf(path, problems), { problems });
}

const linesOf = (path: string, problems: readonly Problem[]) =>
  problems.map((problem) => problemLine(path, problem)).join('\n');

function readBounded(path: string): string {
  let text: string;
  try {
    const { size } = statSync(path);
    if (size > fileBytesMax) throw new Failure('invalid', `it has ${size} bytes, and may have ${fileBytesMax}`);
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new Failure('invalid', `MODELS_FILE ${path} cannot be read: ${messageOf(error)}`);
  }
  return text;
}
