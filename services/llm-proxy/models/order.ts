import { hash } from 'node:crypto';

/** Numbers in (0, 1] for each endpoint's name. */
export type Draw = (name: string) => number;

/** Anew for each call. `random` is in [0, 1). */
export const drawAtRandom =
  (random: () => number): Draw =>
  () =>
    1 - random();

/** The same for the same text, whatever other endpoints there are, so that few calls move when one comes or goes. */
export const drawFor =
  (affinity: string): Draw =>
  (name) =>
    (Number.parseInt(hash('sha256', `${affinity}\0${name}`).slice(0, 12), 16) + 1) / 2 ** 48;

/** Sorts so that each comes first as often as its weight says, and second among the rest likewise; weight 0 comes last. */
export function byWeight<T extends { endpoint: { name: string; weight: number } }>(
  items: readonly T[],
  draw: Draw,
): T[] {
  return items
    .map((item) => {
      const { name, weight } = item.endpoint;
      return { item, at: weight > 0 ? -Math.log(draw(name)) / weight : Number.POSITIVE_INFINITY };
    })
    .sort((a, b) => (a.at === b.at ? 0 : a.at < b.at ? -1 : 1))
    .map(({ item }) => item);
}
