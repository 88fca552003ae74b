import { CommanderError } from 'commander';
import { Failure, messageOf } from '#shared/errors.ts';
import { harmless } from '../launch/words.ts';
import { exitCodeOf } from './exit.ts';
import { createProgram } from './program.ts';

/** Does what the command line says, and sets what the process ends with. */
export async function main(): Promise<void> {
  // Whoever reads no further, such as `head`, has what they wanted.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit(0);
  });
  try {
    await createProgram().parseAsync();
  } catch (error) {
    // Of a wrong command line it was told already.
    if (!(error instanceof CommanderError)) process.stderr.write(`${harmless(told(error))}\n`);
    process.exitCode = exitCodeOf(error);
  }
}

function told(error: unknown): string {
  if (!(error instanceof Failure)) return messageOf(error);
  const fields = (error.problems ?? []).filter(({ field }) => !error.message.includes(field));
  return [error.message, ...fields.map(({ field, message }) => `  ${field} ${message}`)].join('\n');
}
