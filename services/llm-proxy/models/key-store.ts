import { Failure } from '#shared/errors.ts';

/** An endpoint's key, wherever it is now. Throws `unavailable` once it was taken back. */
export type HeldKey = () => string | undefined;

export type KeyStore = {
  /** Keeps a key under `place`; one that is there already is replaced for all who hold it. */
  hold(place: string, key: string | undefined): HeldKey;
  /** Takes back all keys but those of `places`. */
  keepOnly(places: ReadonlySet<string>): void;
  [Symbol.dispose](): void;
};

/**
 * Keys in memory of their own, which is overwritten when a key is replaced or taken back, and at the end, where `zero` says so.
 * What this cannot reach: the environment that the key came from, and the strings that requests were made of, until they are collected.
 */
export function createKeyStore(zero: boolean): KeyStore {
  const held = new Map<string, Buffer | undefined>();
  const wipe = (place: string) => {
    if (zero) held.get(place)?.fill(0);
    held.delete(place);
  };
  return {
    hold(place, key) {
      if (!held.has(place) || held.get(place)?.toString() !== key) {
        wipe(place);
        held.set(place, key === undefined ? undefined : copyOf(key));
      }
      return () => {
        if (!held.has(place)) throw new Failure('unavailable', `${place} is no longer among the endpoints; ask again`);
        return held.get(place)?.toString();
      };
    },
    keepOnly(places) {
      for (const place of [...held.keys()]) if (!places.has(place)) wipe(place);
    },
    [Symbol.dispose]() {
      for (const place of [...held.keys()]) wipe(place);
    },
  };
}

/** Not from the pool that small buffers share, of which parts go round. */
function copyOf(key: string): Buffer {
  const bytes = Buffer.alloc(Buffer.byteLength(key));
  bytes.write(key);
  return bytes;
}
