import type { Answer, ChatRequest } from '#shared/contracts/llm.ts';
import type { Call } from './calls.ts';
import { findIn } from './findings.ts';
import { nextLooks, sentence } from './looks.ts';
import { minimalArgs } from './minimal.ts';
import { planFor } from './plan.ts';
import { madeFrom, writeReport } from './report.ts';
import { submissionIn, submitTool } from './submission.ts';
import { readTask } from './task.ts';
import { verdictOn } from './verdict.ts';

const reportCharsMax = 40_000;
const talkCharsMax = 8_000;
const submitTriesMax = 3;
const whoIAm =
  "I am Toka's demo provider: rules, not a language model. I can look around in files, and say what I found there.";

/** The next turn of a conversation. It depends on nothing but the request: no state, no clock, no chance. */
export function respond(request: ChatRequest, maxOutputTokens: number): Answer {
  const { tools, toolChoice } = request;
  const { task, messages } = readTask(request.messages);
  const forced = toolChoice === 'auto' ? undefined : toolChoice.name;
  if (forced === 'verdict') return act(request, 'I check it by rules.', [{ tool: forced, args: verdictOn(task) }]);
  if (forced !== undefined && forced !== submitTool) {
    const args = minimalArgs(tools.find(({ name }) => name === forced)?.inputSchema);
    return act(request, `I call ${forced}, as I was told to.`, [{ tool: forced, args }]);
  }

  const plan = planFor(task);
  const findings = findIn(messages);
  const offered = new Set(tools.map(({ name }) => name));
  const submission = submissionIn(messages);
  const looks = forced || submission.done ? [] : nextLooks(plan, findings, task, offered);
  // About four characters to a token, and some room for what stands around the report.
  const charsMax = Math.min(reportCharsMax, Math.max(400, maxOutputTokens * 3 - 1_500));
  if (looks.length > 0) return act(request, sentence(looks), looks);
  if (!forced && submission.done) return say('The deliverable is handed in.');
  if (!forced && !offered.has(submitTool)) {
    const report = writeReport(plan, findings, task, Math.min(charsMax, talkCharsMax));
    return say(`${whoIAm}\n\n${report}`);
  }
  if (!forced && submission.failures.length >= submitTriesMax)
    return say(`The deliverable could not be handed in: ${submission.failures.at(-1)}`);
  const content = writeReport(plan, findings, task, charsMax);
  const summary = `${plan.title}. ${madeFrom(findings)}`;
  return act(request, 'I hand in what I found.', [{ tool: submitTool, args: { summary, content } }]);
}

const say = (text: string): Answer => ({ text, toolCalls: [], stopReason: 'end' });

/** Calls get the next numbers that no call of the conversation bears. */
function act({ messages }: ChatRequest, text: string, calls: readonly Call[]): Answer {
  const used = new Set(
    messages.flatMap((message) => (message.role === 'assistant' ? message.toolCalls : [])).map(({ callId }) => callId),
  );
  let number = used.size;
  const toolCalls = calls.map((call) => {
    do number++;
    while (used.has(`demo_${number}`));
    return { callId: `demo_${number}`, ...call };
  });
  return { text, toolCalls, stopReason: 'tool-calls' };
}
