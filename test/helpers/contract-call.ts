import type { ChatInput } from '#shared/contracts/llm.ts';
import { chat } from '#shared/contracts/llm.ts';
import type { Marks } from '../../services/llm-proxy/failover/attempt.ts';
import type { ContractCall, Parts } from '../../services/llm-proxy/model-call.ts';
import type { Target } from '../../services/llm-proxy/models/target.ts';
import { newTold } from '../../services/llm-proxy/stream-facts.ts';
import { runContract } from '../../services/llm-proxy/upstreams/run-contract.ts';
import { openUpstreams } from '../../services/llm-proxy/upstreams/upstreams.ts';
import { decodeEntry } from '../../services/llm-proxy/wires/contract/entry.ts';

const unmarked: Marks = {
  reached: () => undefined,
  began: () => undefined,
  piece: () => undefined,
  sent: () => undefined,
  said: () => undefined,
  took: () => undefined,
};

/** One call of our own contract to one target, without the pipeline around it. Answers its text. */
export async function askTarget(
  target: Target,
  input: ChatInput,
  signal: AbortSignal,
  marks: Marks = unmarked,
): Promise<string> {
  await using upstreams = openUpstreams({ connections: 10, proxy: undefined });
  const parts = { upstreams, asker: { limits: { observe: () => undefined } } };
  const call = {
    request: chat.input.parse(input),
    outputMax: () => 100,
    onText: undefined,
    told: newTold(),
  };
  // What is left out belongs to the pipeline.
  const run = runContract(parts as unknown as Parts, call as unknown as ContractCall, target);
  return decodeEntry(await run(signal, marks))?.answer.text ?? '';
}
