import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** What came of a command. */
export type Told = { code: number | null; out: string; err: string };

type TokaOptions = {
  environment?: Record<string, string>;
  input?: string;
  /** Hears what comes on standard output, as it comes; once it answers true the command is told to end. */
  until?: (out: string) => boolean;
};

/** Runs `toka` as a process of its own, with no settings but these. */
export async function toka(
  args: readonly string[],
  { environment = {}, input, until }: TokaOptions = {},
): Promise<Told> {
  const child = spawn(process.execPath, ['shared/dev/toka.ts', ...args], {
    env: { PATH: process.env.PATH ?? '', HOME: '/nowhere', TOKA_HOME: '/nowhere', ...environment },
  });
  const told = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    told.out += text;
    if (until?.(told.out)) child.kill('SIGTERM');
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    told.err += text;
  });
  child.stdin.end(input);
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, ...told };
}
