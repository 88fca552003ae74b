import { Failure } from '#shared/errors.ts';

/** JetStream's answer to a publish that it did not take. */
export type AckError = { code: number; err_code: number; description: string };

/** Seen on nats-server 2.9 and 2.15 alike; all but the last two come as 503, which "no answer from a leader" does, too. */
const noRoom: Readonly<Record<number, string>> = {
  10023: 'nats-server has no room for more: its disk is full, or max_file_store is reached', // insufficient resources
  10047: 'nats-server has not the room that a stream asks for', // insufficient storage resources available
  10028: 'nats-server has no memory left for streams in memory (max_memory_store)', // insufficient memory
  10077: 'the stream has as many bytes or messages as it may', // maximum bytes exceeded, maximum messages exceeded
};
const storeFailed = 10077;

/**
 * What a refusal means where nothing but room helps, so that trying again at once is in vain; undefined for every other. 10077 is
 * JetStream's code for any write that its store refused: for a limit of the stream, and for an error of the disk.
 */
export function refusalOf({ err_code, description }: AckError): Failure | undefined {
  const meaning = noRoom[err_code];
  if (meaning === undefined) return undefined;
  if (err_code === storeFailed && !/maximum (bytes|messages)|no space|read-only|disk/i.test(description))
    return undefined;
  return new Failure('disk-full', `${meaning} (${description})`, { retryAfterMs: 5_000 });
}
