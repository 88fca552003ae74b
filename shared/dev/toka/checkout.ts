import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Environment } from '../launch/environment.ts';
import { readEnvironment } from '../launch/environment.ts';

/** Where Toka lies: its settings and data count wherever the command is given. */
export const checkout = fileURLToPath(new URL('../../..', import.meta.url));

/** The settings of this checkout, each file and folder in them by its whole path. */
export function settingsHere(): Environment {
  const environment = readEnvironment(resolve(checkout, '.env'), process.env);
  const { TOKA_HOME = '.toka', CONFIG_FILE = 'config/agents.toml', MODELS_FILE = 'config/models.toml' } = environment;
  const paths = Object.entries({ TOKA_HOME, CONFIG_FILE, MODELS_FILE });
  return { ...environment, ...Object.fromEntries(paths.map(([name, path]) => [name, resolve(checkout, path)])) };
}
