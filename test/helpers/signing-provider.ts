import type { FakeProvider, FakeReply, FakeRequest, FakeScript } from './fake-provider.ts';
import { startFakeProvider } from './fake-provider.ts';
import { checkThinking } from './provider-rules.ts';

/** What a signing provider saw. */
export type Signed = {
  /** What was refused for its thinking: the system prompt, and the words. */
  refusals: { system: string; text: string }[];
  /** How many thinking blocks the model saw of each request that was answered, in order, and how many it could not read. */
  answered: { request: FakeRequest; seen: number; dropped: number }[];
};

/** A script whose model thinks before each answer; its thinking is signed and checked as Anthropic does it. */
export function signing(script: FakeScript): Signed & { script: FakeScript } {
  const refusals: Signed['refusals'] = [];
  const answered: Signed['answered'] = [];
  const checked: FakeScript = async (request, count): Promise<FakeReply> => {
    const { refusal, seen, dropped, signature } = checkThinking(request.body);
    if (refusal !== undefined) {
      refusals.push({ system: request.system, text: refusal });
      return { status: 400, message: refusal };
    }
    const reply = await script(request, count);
    if ('status' in reply || 'fault' in reply) return reply;
    answered.push({ request, seen, dropped });
    return { thinking: `Thought ${count}.`, signature, ...reply };
  };
  return { refusals, answered, script: checked };
}

export type SigningProvider = FakeProvider & Signed;

/** A provider on Anthropic's wire whose models think so. */
export async function startSigningProvider(script: FakeScript): Promise<SigningProvider> {
  const { script: signed, ...rest } = signing(script);
  return { ...(await startFakeProvider({ script: signed })), ...rest };
}
