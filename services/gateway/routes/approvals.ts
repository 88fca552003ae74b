import { z } from 'zod';
import { readAnswerSchema } from '#shared/answer-schema.ts';
import type { Bus } from '#shared/bus/bus.ts';
import { commandRun } from '#shared/command.ts';
import type { Approval } from '#shared/contracts/approval.ts';
import { ApprovalId } from '#shared/contracts/approval.ts';
import { AgentId, RunId } from '#shared/contracts/ids.ts';
import { ApprovalView, getApproval, listApprovals } from '#shared/contracts/store.ts';
import type { Writer } from '#shared/event.ts';
import { on } from '../auth.ts';
import { bodyOf, refusalAt } from '../input.ts';
import { pageOf, pageQuery, seqQuery } from '../paging.ts';
import type { Route } from '../route.ts';
import { route } from '../route.ts';

const params = z.object({ id: ApprovalId });
const answerCharsMax = 20_000;
const Answer = z.strictObject({
  decision: z.enum(['approved', 'denied', 'answered']),
  /** For a question: of its schema, or a text. */
  answer: z.unknown().optional(),
  reason: z.string().trim().min(1, 'must not be empty').max(2_000, 'must be at most 2000 characters').optional(),
});

/** What agents ask people, and what people answer. */
export const approvalRoutes = (bus: Bus, writer: Writer): Route[] => [
  route({
    method: 'get',
    path: '/approvals',
    scope: 'runs:read',
    summary: 'List what people are asked, the newest first',
    query: pageQuery.extend({
      open: z
        .enum(['true', 'false'])
        .transform((value) => value === 'true')
        .optional(),
      run: RunId.optional(),
      agent: AgentId.optional(),
    }),
    answer: pageOf(ApprovalView),
    handle: ({ query: { run, agent, ...query } }) => bus.ask(listApprovals, { ...query, runId: run, agentId: agent }),
  }),
  route({
    method: 'get',
    path: '/approvals/:id',
    scope: 'runs:read',
    summary: 'Read what a person is asked',
    params,
    query: seqQuery,
    answer: ApprovalView,
    handle: ({ params: { id }, query }) => bus.ask(getApproval, { id, minSeq: query.minSeq }),
  }),
  route({
    method: 'post',
    path: '/approvals/:id',
    scope: 'approvals:write',
    summary: 'Approve, deny or answer',
    params,
    body: bodyOf(Answer),
    answer: ApprovalView,
    async handle({ params: { id }, body: { decision, answer, reason = null }, caller, ctx }) {
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
