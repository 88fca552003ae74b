import type { Command } from 'commander';
import { each } from '#shared/client/each.ts';
import type { ApprovalView } from '#shared/contracts/store.ts';
import type { Columns } from './output.ts';
import { time } from './output.ts';
import { count, shellOf, take } from './shell.ts';

const row: Columns<ApprovalView> = {
  id: ({ id }) => id,
  agent: ({ agentId }) => agentId,
  run: ({ runId }) => runId,
  asks: ({ kind, capability, tool }) => (kind === 'question' ? 'a question' : (capability ?? tool)),
  question: ({ question }) => begun(question),
  expires: ({ expiresAt }) => time(expiresAt),
  decided: ({ decided }) => decided && `${decided.decision} by ${decided.by}`,
};

const whole: Columns<ApprovalView> = {
  ...row,
  question: () => '',
  capability: ({ capability }) => capability,
  asked: ({ requestedAt }) => time(requestedAt),
  reason: ({ decided }) => decided?.reason,
};

const shownMax = 40;

/** The beginning of a question, where it is longer with how to see all of it: nobody should decide on a part. */
function begun(question: string): string {
  const [first = ''] = question.split('\n');
  const start = first.slice(0, shownMax);
  return start === question ? question : `${start}… (${question.length} characters: approvals show)`;
}

type Decision = { reason?: string };

export function addApprovals(program: Command): void {
  const approvals = program
    .command('approvals')
    .description('What agents wait for a person to decide')
    .addHelpText(
      'after',
      '\nExamples:\n  toka approvals ls\n  toka approvals show apr_01J…\n  toka approvals approve apr_01J…',
    );
  approvals
    .command('ls')
    .description('List what is open, the newest first')
    .option('--all', 'what was decided, too')
    .option('--agent <name>', 'only of an agent')
    .option('--run <id>', 'only of a run')
    .option('--limit <n>', 'how many at most', count, 100)
    .addHelpText('after', '\nExample:\n  toka approvals ls --agent scout')
    .action(async ({ all, limit, ...filter }, command: Command) => {
      const { client, output } = shellOf(command);
      const wanted = { ...filter, ...(all ? {} : { open: 'true' as const }), limit: Math.min(limit, 500) };
      output.list(await take(each(client.listApprovals, wanted), limit), row);
    });
  approvals
    .command('show <id>')
    .description('Show all that is asked: what is approved is exactly that')
    .addHelpText('after', '\nExample:\n  toka approvals show apr_01J…')
    .action(async (id: string, _, command: Command) => {
      const { client, output } = shellOf(command);
      const approval = await client.getApproval({ id });
      output.one(approval, whole);
      if (!output.json) output.text(`\n${approval.question}\n`);
    });
  for (const [name, decision] of [
    ['approve', 'approved'],
    ['deny', 'denied'],
  ] as const)
    approvals
      .command(`${name} <id>`)
      .description(name === 'approve' ? 'Give leave' : 'Refuse leave')
      .option('--reason <text>', 'why; the agent is told')
      .addHelpText('after', `\nExample:\n  toka approvals ${name} apr_01J…`)
      .action(async (id: string, { reason }: Decision, command: Command) => {
        const { client, output } = shellOf(command);
        output.row(await client.decideApproval({ id, body: { decision, reason } }), row);
      });
  approvals
    .command('answer <id> <answer>')
    .description('Answer a question: with a text, or where it asks for more with JSON')
    .addHelpText(
      'after',
      `\nExamples:\n  toka approvals answer apr_01J… "the second one"\n  toka approvals answer apr_01J… '{"port": 8080}'`,
    )
    .action(async (id: string, text: string, _, command: Command) => {
      const { client, output } = shellOf(command);
      const { schema } = await client.getApproval({ id });
      const body = { decision: 'answered' as const, answer: schema ? jsonOr(text) : text };
      output.row(await client.decideApproval({ id, body }), row);
    });
}

function jsonOr(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
