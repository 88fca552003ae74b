import type { FakeProvider, FakeReply, FakeRequest, FakeScript } from './fake-provider.ts';
import { startFakeProvider } from './fake-provider.ts';
import { checkThinking } from './provider-rules.ts';

export type SigningProvider = FakeProvider & {
  /** What was refused for its thinking: the agent, and the words. */
  refusals: { system: string; text: string }[];
  /** How many thinking blocks the model saw of each request that was answered, in order, and how many it could not read. */
  answered: { request: FakeRequest; seen: number; dropped: number }[];
};

/** A provider on Anthropic's wire whose models think before each answer, and that signs and checks their thinking as the real one does. */
export async function startSigningProvider(script: FakeScript): Promise<SigningProvider> {
  const refusals: SigningProvider['refusals'] = [];
  const answered: SigningProvider['answered'] = [];
  let current = script;
  const signing: FakeScript = async (request, count): Promise<FakeReply> => {
    const { refusal, seen, dropped, signature } = checkThinking(request.body);
    if (refusal !== undefined) {
      refusals.push({ system: request.system, text: refusal });
      return { status: 400, message: refusal };
    }
    const reply = await current(request, count);
    if ('status' in reply || 'fault' in reply) return reply;
    answered.push({ request, seen, dropped });
    return { thinking: `Thought ${count}.`, ...reply, signature };
  };
  const provider = await startFakeProvider({ script: signing });
  return {
    ...provider,
    refusals,
    answered,
    play(next) {
      current = next;
    },
  };
}
