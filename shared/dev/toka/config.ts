import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { parse } from 'smol-toml';
import { parseAgentsFile } from '#shared/agents-file.ts';
import type { Problem } from '#shared/errors.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import { readSecret } from '#shared/settings.ts';
import { checkModelsFile } from '../../../services/llm-proxy/models/check.ts';
import { parseModelsFile } from '../../../services/llm-proxy/models/parse.ts';
import type { Environment } from '../launch/environment.ts';
import { shellOf } from './shell.ts';

type Kind = 'agents' | 'models';

export function addConfig(program: Command): void {
  program
    .command('config')
    .description('Files of configuration')
    .command('check <files...>')
    .description(
      'Check an agents.toml or a models.toml: every mistake with its line and its fix; fails where there is one',
    )
    .addHelpText(
      'after',
      '\nExamples:\n  toka config check config/agents.toml config/models.toml\n  toka config check my.toml --json',
    )
    .action((files: string[], _, command: Command) => {
      const { environment, output } = shellOf(command);
      const found = files.flatMap((file) => checkFile(file, environment).map((problem) => ({ file, ...problem })));
      if (output.json || found.length > 0)
        output.list(found, {
          where: ({ file, line }) => (line ? `${file}:${line}` : file),
          field: ({ field }) => field,
          problem: ({ message }) => message,
        });
      else output.say(`${files.join(' and ')}: in order`);
      if (found.length > 0) process.exitCode = 1;
    });
}

/** Everything that is wrong with a file, as the service that reads it would say. */
export function checkFile(file: string, environment: Environment): Problem[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new Failure('not-found', `${file} cannot be read: ${messageOf(error)}`);
  }
  if (kindOf(file, text) === 'agents') return parseAgentsFile(text).problems;
  const isSet = (name: string) => readSecret(environment, name) !== undefined;
  return parseModelsFile(text, (models) => checkModelsFile(models, isSet)).problems;
}

const ofModels = new Set(['aliases', 'endpoints', 'models', 'limits', 'budgets']);

/** By its sections; one that has none, or is no TOML, by its name. */
function kindOf(file: string, text: string): Kind {
  try {
    const sections = Object.keys(parse(text));
    if (sections.length > 0) return sections.some((name) => ofModels.has(name)) ? 'models' : 'agents';
  } catch {
    // What is wrong with it is said by who parses it for good.
  }
  return /models/.test(file) ? 'models' : 'agents';
}
