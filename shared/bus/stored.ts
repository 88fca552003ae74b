import type { JetStreamManager, StoredMsg } from 'nats';
import { NatsError } from 'nats';

/** Which message of a stream: the last on a subject, which may have wildcards; or the first on one, at or after `seq`. */
type Query = { last_by_subj: string } | { seq: number; next_by_subj: string };

/** JetStream's code for a message that is not there. */
export const noMessageFound = 10037;

/** A message as it lies in a stream; undefined where there is none. */
export const storedMessage = (jsm: JetStreamManager, stream: string, query: Query): Promise<StoredMsg | undefined> =>
  jsm.streams.getMessage(stream, query as { last_by_subj: string }).catch((error) => {
    if (error instanceof NatsError && error.api_error?.err_code === noMessageFound) return undefined;
    throw error;
  });
