import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import type { Client } from '#shared/client/client.ts';
import { createClient } from '#shared/client/client.ts';
import { Failure } from '#shared/errors.ts';
import type { Environment } from '../launch/environment.ts';
import { settingsHere } from './checkout.ts';
import type { Output } from './output.ts';
import { createOutput } from './output.ts';
import { tokenSource } from './token.ts';

type Global = { url?: string; json?: boolean; data?: string };

/** What a command works with. */
export type Shell = { environment: Environment; url: string; data: string | undefined; client: Client; output: Output };

/** The shell of a command, by the options that all of them take. */
export function shellOf(command: Command): Shell {
  const { url, json = false, data }: Global = command.optsWithGlobals();
  const environment = settingsHere();
  const { TOKA_URL, PORT = '8080', TLS_CERT_FILE } = environment;
  const found = url ?? TOKA_URL ?? `${TLS_CERT_FILE ? 'https' : 'http'}://localhost:${PORT}`;
  if (!/^https?:$/.test(URL.parse(found)?.protocol ?? ''))
    throw new Failure(
      'invalid',
      `the API's address is ${JSON.stringify(found)}: it takes one such as http://localhost:8080`,
    );
  return {
    environment,
    url: found,
    data,
    client: createClient({ url: found, token: tokenSource(environment, data) }),
    output: createOutput(process.stdout, process.stderr, json),
  };
}

/** A number of the command line. */
export function count(value: string): number {
  if (!/^[1-9]\d{0,8}$/.test(value)) throw new InvalidArgumentError('It takes a number from 1 on.');
  return Number(value);
}

/** Of an option that may be given more than once. */
export const collect = (value: string, before: readonly string[] = []): string[] => [...before, value];

/** As many as are wanted, and no page more than that takes. */
export async function take<T>(items: AsyncIterable<T>, max: number): Promise<T[]> {
  const taken: T[] = [];
  for await (const item of items) {
    taken.push(item);
    if (taken.length >= max) break;
  }
  return taken;
}
