import type { TokaOptions } from './toka.ts';
import { openToka } from './toka.ts';

const lengths = [10, 100, 1_000];

/** What a run leaves on the log for each of its turns, by its length. */
export async function logBytes(
  options: Pick<TokaOptions, 'nats' | 'synced'>,
): Promise<{ turns: number; bytesPerTurn: number }[]> {
  await using toka = await openToka({ ...options, runners: 1, atOnce: 1 });
  const found: { turns: number; bytesPerTurn: number }[] = [];
  for (const turns of lengths) found.push({ turns, bytesPerTurn: (await toka.bytesOf(turns)) / turns });
  return found;
}
