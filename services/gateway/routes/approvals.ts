import { readAnswerSchema } from '#shared/answer-schema.ts';
import { commandRun } from '#shared/command.ts';
import * as api from '#shared/contracts/api/approvals.ts';
import type { Approval } from '#shared/contracts/approval.ts';
import { getApproval, listApprovals } from '#shared/contracts/store.ts';
import type { Writer } from '#shared/event.ts';
import { on } from '../auth.ts';
import { refusalAt } from '../input.ts';
import type { Route } from '../route.ts';
import { route } from '../route.ts';

const answerCharsMax = 20_000;
/** What agents ask people, and what people answer. */
export const approvalRoutes = (writer: Writer): Route[] => [
  route({
    ...api.listApprovals,
    handle: ({ query: { run, agent, ...query }, bus }) =>
      bus.ask(listApprovals, { ...query, runId: run, agentId: agent }),
  }),
  route({
    ...api.getApproval,
    handle: ({ params: { id }, query, bus }) => bus.ask(getApproval, { id, minSeq: query.minSeq }),
  }),
  route({
    ...api.decideApproval,
    async handle({ params: { id }, body: { decision, answer, reason = null }, bus, caller, ctx }) {
      const approval = await bus.ask(getApproval, { id });
      if (decision === 'answered') checkAnswer(approval, answer);
      const decided = { approvalId: id, decision, reason, ...(decision === 'answered' ? { answer } : {}) };
      const { seq } = await commandRun(bus, approval.runId, { type: 'decide', decided }, on(writer, caller));
      ctx.set('Toka-Seq', String(seq));
      return bus.ask(getApproval, { id, minSeq: seq });
    },
  }),
];

/** Whether an answer is what was asked for. The schema came from a model: where it cannot be read, nothing meets it. */
function checkAnswer({ schema, kind }: Pick<Approval, 'schema' | 'kind'>, answer: unknown): void {
  if (kind !== 'question') return;
  if ((JSON.stringify(answer) ?? '').length > answerCharsMax)
    throw refusalAt([{ path: ['answer'], message: `must be at most ${answerCharsMax} characters` }], 'the body');
  const parsed = readAnswerSchema(schema).safeParse(answer);
  if (parsed.success) return;
  const problems = parsed.error.issues.map(({ path, message }) => ({ path: ['answer', ...path.map(String)], message }));
  throw refusalAt(problems, 'the body');
}
