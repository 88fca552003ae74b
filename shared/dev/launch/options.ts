import { parseArgs } from 'node:util';
import { Failure, messageOf } from '#shared/errors.ts';

export const usage = `npm start -- [options]

  --until-idle   ends once every objective of the configured agents has ended: 0 if all ended well, else 1
  --data DIR     keeps all data in DIR (default: $TOKA_HOME, else .toka)
  --help         shows this

Settings come from the environment and from .env; see .env.example.`;

export type Options = { untilIdle: boolean; home: string; help: boolean };

/** Reads the command line. Throws `invalid` for what it does not know. */
export function readOptions(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Options {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { 'until-idle': { type: 'boolean' }, data: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
    });
    return {
      untilIdle: values['until-idle'] ?? false,
      home: values.data ?? environment.TOKA_HOME ?? '.toka',
      help: values.help ?? false,
    };
  } catch (error) {
    throw new Failure('invalid', `${messageOf(error)}\n\n${usage}`);
  }
}
