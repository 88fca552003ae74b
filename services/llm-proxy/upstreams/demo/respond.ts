import type { Answer, ChatMessage, ChatRequest, ToolCall } from '#shared/contracts/llm.ts';
import { clip } from '#shared/text.ts';
import type { Call } from './calls.ts';
import { describe } from './calls.ts';
import type { Findings } from './findings.ts';
import { findIn } from './findings.ts';
import { count } from './markdown.ts';
import { minimalArgs } from './minimal.ts';
import type { Plan } from './plan.ts';
import { nextCalls, planFor } from './plan.ts';
import type { Task } from './task.ts';
import { readTask } from './task.ts';
import { verdictOn } from './verdict.ts';

const submit = 'submit_deliverable';
const verdict = 'verdict';
const charsMax = 60_000;
const submitsMax = 3;
const charsPerToken = 4;

/** What the rules say next in a conversation: look, hand in, judge, or answer. The same conversation always gets the same answer. */
export function respond(request: ChatRequest, maxOutputTokens: number): Answer {
  const { messages, tools, toolChoice } = request;
  const { task, messages: own } = readTask(messages);
  const turn = messages.filter(({ role }) => role === 'assistant').length + 1;
  const calling = (text: string, calls: Call[]): Answer => ({
    text,
    toolCalls: calls.map((call, index): ToolCall => ({ callId: `demo_${turn}_${index + 1}`, ...call })),
    stopReason: 'tool-calls',
  });
  if (toolChoice !== 'auto' && toolChoice.name === verdict)
    return calling('', [{ tool: verdict, args: verdictOn(task) }]);
  if (toolChoice !== 'auto' && toolChoice.name !== submit) {
    const offer = tools.find(({ name }) => name === toolChoice.name);
    return calling('', [{ tool: toolChoice.name, args: minimalArgs(offer?.inputSchema) }]);
  }
  const offered = new Set(tools.map(({ name }) => name));
  const findings = findIn(own);
  const plan = planFor(task);
  const calls = toolChoice === 'auto' ? nextCalls(plan, findings, offered) : [];
  if (calls.length > 0) return calling(`By rules: ${calls.map(describe).join(', ')}.`, calls);
  const content = compose(task, plan, findings, Math.min(charsMax, maxOutputTokens * charsPerToken));
  const plainly = task.deliverable === null || !offered.has(submit) || refusedSubmits(own) >= submitsMax;
  if (plainly) return { text: content, toolCalls: [], stopReason: 'end' };
  return calling('All that the rules can look at has been read; handing in.', [
    { tool: submit, args: { summary: summaryOf(plan, findings), content } },
  ]);
}

/** How often the tool itself would not take what was handed in, since the user last spoke. */
function refusedSubmits(messages: readonly ChatMessage[]): number {
  const since = messages.slice(messages.findLastIndex(({ role }) => role === 'user') + 1);
  const submits = since.flatMap((message) =>
    message.role === 'assistant' ? message.toolCalls.filter(({ tool }) => tool === submit) : [],
  );
  const ids = new Set(submits.map(({ callId }) => callId));
  return since.filter((message) => message.role === 'tool' && message.isError && ids.has(message.callId)).length;
}

function compose(task: Task, plan: Plan, findings: Findings, max: number): string {
  const title = task.deliverable === null ? task.objective : task.deliverable;
  const share = Math.floor(max / (plan.sections.length + 1));
  const parts = plan.sections.flatMap((section) => [
    `## ${section.heading}`,
    '',
    ...cutTo(section.lines(findings), share),
    '',
  ]);
  const failed = findings.failures.map((failure) => `- ${failure}`);
  const trouble = failed.length > 0 ? ['## What did not work', '', ...failed, ''] : [];
  const body = [`# ${clip(title.split('\n')[0] ?? '', 120)}`, '', ...parts, ...trouble].filter(
    (line) => !plan.criteria.forbidden.some((text) => line.toLowerCase().includes(text.toLowerCase())),
  );
  const end = `_Made by Toka's demo provider: rules, not a language model. It ${seen(findings)}._\n`;
  return `${clip(body.join('\n'), Math.max(200, max - end.length - 200))}\n${end}`;
}

/** As many lines as fit, so that no section pushes out another. */
function cutTo(lines: readonly string[], charsMax: number): readonly string[] {
  let chars = 0;
  for (const [index, line] of lines.entries()) {
    chars += line.length + 1;
    if (chars > charsMax && index > 0)
      return [...lines.slice(0, index), '', `(${lines.length - index} more lines were left out)`];
  }
  return lines;
}

const seen = ({ files, reads, searches }: Findings) =>
  `listed ${count(files?.length ?? 0, 'file')}, read ${reads.size} and searched ${searches.size === 1 ? 'once' : `${searches.size} times`}`;

const summaryOf = ({ sections }: Plan, findings: Findings) =>
  clip(`${sections.map(({ heading }) => heading).join(', ')}: by rules, which ${seen(findings)}.`, 1_000);
