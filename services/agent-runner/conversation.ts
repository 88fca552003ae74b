import type { ChatInput, ChatMessage, ChatResponse, ToolOffer } from '#shared/contracts/llm.ts';
import { Failure } from '#shared/errors.ts';
import { roll, writeHead, writeMessage } from '#shared/rolling.ts';

/** A turn of a conversation: all that was said so far. */
export type Turn = Omit<ChatInput, 'messages' | 'tools' | 'context'> & {
  said: readonly ChatMessage[];
  tools: ToolOffer[];
};

/** What the proxy has been told; `digests[i]` is of the head and the first `i` messages. */
type Told = { system: string; tools: ToolOffer[]; said: readonly ChatMessage[]; digests: string[] };

export type Conversation = {
  /** Makes a turn's call by `send`, with only what the proxy does not have; it is sent whole where the proxy has lost it. */
  ask(turn: Turn, send: (input: ChatInput) => Promise<ChatResponse>): Promise<ChatResponse>;
};

/** A conversation with a model that the proxy keeps under `id`. */
export function createConversation(id: string): Conversation {
  let told: Told | undefined;
  return {
    async ask(turn, send) {
      const known = told && knownOf(told, turn);
      const { said, ...rest } = turn;
      const call = (count: number, digest: string): ChatInput => ({
        ...rest,
        ...(count > 0 ? { system: '', tools: [] } : {}),
        messages: said.slice(count),
        context: { id, count, digest, keep: said.length - count },
      });
      const whole = () => send(call(0, ''));
      const response = known
        ? await send(call(known.count, known.digest)).catch((error: unknown) => {
            if (error instanceof Failure && error.code === 'context-missing') return whole();
            throw error;
          })
        : await whole();
      told = tell(turn, known?.digests);
      return response;
    },
  };
}

/** How much of a turn the proxy was told before; undefined: nothing. A call has at least one message, so the last never counts. */
function knownOf(
  told: Told,
  { system, tools, said }: Turn,
): { count: number; digest: string; digests: string[] } | undefined {
  if (told.system !== system || told.tools !== tools) return undefined;
  let count = 0;
  while (count < said.length - 1 && isSame(said[count], told.said[count])) count += 1;
  const digests = told.digests.slice(0, count + 1);
  const digest = digests[count];
  return count === 0 || digest === undefined ? undefined : { count, digest, digests };
}

/** Messages never change, so that the same object is the same message; a note is made anew once the log has it. */
const isSame = (one: ChatMessage | undefined, other: ChatMessage | undefined): boolean =>
  one === other || (one?.role === 'user' && other?.role === 'user' && one.text === other.text);

function tell({ system, tools, said }: Turn, known: string[] | undefined): Told {
  const digests = known ?? [roll('', writeHead(system, tools))];
  let digest = digests.at(-1) ?? '';
  for (const message of said.slice(digests.length - 1)) {
    digest = roll(digest, writeMessage(message));
    digests.push(digest);
  }
  return { system, tools, said: [...said], digests };
}
