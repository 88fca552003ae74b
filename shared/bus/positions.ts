import type { NatsConnection } from 'nats';
import { positionsBucket } from '#shared/contracts/subjects.ts';
import { jsonOf } from './json.ts';
import { openRegisters } from './registers.ts';

/** How far each reader of the log has come, by its name: the newest word of each is kept. */
export type Positions = {
  put(name: string, position: unknown): Promise<void>;
  /** Undefined: there is none. */
  get(name: string): Promise<unknown>;
  remove(name: string): Promise<void>;
};

export function openPositions(nc: NatsConnection): Positions {
  const bucket = openRegisters(nc, positionsBucket);
  return {
    put: async (name, position) => void (await bucket.write(name, JSON.stringify(position))),
    get: async (name) => {
      const found = await bucket.read(name);
      return found && jsonOf(Buffer.from(found.text));
    },
    remove: (name) => bucket.remove(name),
  };
}
