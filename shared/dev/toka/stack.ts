import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import type { Command } from 'commander';
import { Failure } from '#shared/errors.ts';
import { checkout } from './checkout.ts';

const lookMsMax = 10_000;

export function addStack(program: Command): void {
  program
    .command('up')
    .description('Bring the stack up with docker compose, and wait until it is healthy')
    .argument('[options...]', 'more for docker compose up, after "--"')
    .addHelpText(
      'after',
      '\nExamples:\n  toka up\n  toka up -- --build --scale agent-runner=3\n\nWithout Docker: npm start',
    )
    .action((more: string[]) => compose(['up', '--detach', '--wait', ...more]));
  program
    .command('down')
    .description('Stop the stack; its data stays')
    .argument('[options...]', 'more for docker compose down, after "--"')
    .addHelpText('after', '\nExample:\n  toka down\n\nWithout Docker: Ctrl-C where npm start runs')
    .action((more: string[]) => compose(['down', ...more]));
}

async function compose(args: readonly string[]): Promise<void> {
  const missing = await dockerProblem();
  if (missing)
    throw new Failure('unavailable', `${missing}. Without Docker, npm start brings everything up on this machine.`);
  const child = spawn('docker', ['compose', ...args], { cwd: checkout, stdio: 'inherit' });
  const [code, signal]: [number | null, string | null] = (await once(child, 'exit')) as never;
  if (code !== 0)
    throw new Failure(
      'conflict',
      `docker compose ${args[0]} ended with ${signal ?? code}; docker compose ps and toka doctor say more`,
    );
}

/** What keeps docker compose from doing its work here; undefined: nothing. */
export async function dockerProblem(): Promise<string | undefined> {
  const asks = (...args: string[]) =>
    promisify(execFile)('docker', args, { timeout: lookMsMax }).then(
      () => true,
      () => false,
    );
  if (!(await asks('--version'))) return 'Docker is not installed here';
  if (!(await asks('compose', 'version'))) return 'docker compose is missing: install Compose 2';
  return (await asks('info'))
    ? undefined
    : 'the Docker daemon does not answer: start it, or see whether you may use it';
}
