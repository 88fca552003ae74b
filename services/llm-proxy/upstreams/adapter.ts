import { Failure } from '#shared/errors.ts';
import type { Told } from '../stream-facts.ts';
import { newTold, readTold } from '../stream-facts.ts';
import type { JsonObject } from '../wires/pivot.ts';
import { parseObject } from '../wires/read.ts';

/** A stream of the provider's on its way to the client. */
export type Channel = {
  told: Told;
  /** What the client gets of these bytes. */
  push(chunk: Buffer): Buffer | string;
  /** Nothing more comes; `failure`: because it broke. Answers the client's last bytes and what is wrong with it all; `isTorn`: the client's connection must break, too. */
  end(failure: Failure | undefined): { last: Buffer | string; failure: Failure | undefined; isTorn?: boolean };
};

/** A whole answer as the client gets it. */
export type Whole = { body: Buffer; told: Told };

/** A client's request as its provider takes it, and the way back. */
export type Adapter = {
  path: string;
  body: Buffer;
  headers: Record<string, string>;
  /** Whether an error of the provider's is in the client's words already. */
  speaksAlike: boolean;
  openChannel(): Channel;
  /** Throws `upstream` where it is no answer. */
  readWhole(body: Buffer): Whole;
  /** The same without any thinking of before, where it was that for which the provider has refused it. */
  withoutThinking?(thrown: unknown): Adapter | undefined;
};

/** The JSON of a whole answer, and what it tells: a failure, perhaps. Throws `upstream` where it is none. */
export function readWholeJson(label: string, body: Buffer): { json: JsonObject; told: Told } {
  const json = body.length === 0 ? undefined : parseObject(body.toString());
  if (!json) throw new Failure('upstream', `the answer of ${label} cannot be read: it is no JSON object`);
  const told = { ...newTold(), ended: true };
  readTold(json, told);
  return { json, told };
}
