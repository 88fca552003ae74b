import { commandRun } from '#shared/command.ts';
import * as api from '#shared/contracts/api/approvals.ts';
import { getApproval, listApprovals } from '#shared/contracts/store.ts';
import type { Writer } from '#shared/event.ts';
import type { CheckAnswer } from '../answer-check.ts';
import { on } from '../auth.ts';
import type { Route } from '../route.ts';
import { route } from '../route.ts';

/** What agents ask people, and what people answer. */
export const approvalRoutes = (writer: Writer, checkAnswer: CheckAnswer): Route[] => [
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
      if (decision === 'answered' && approval.kind === 'question') await checkAnswer(caller, approval.schema, answer);
      const decided = { approvalId: id, decision, reason, ...(decision === 'answered' ? { answer } : {}) };
      const { seq } = await commandRun(bus, approval.runId, { type: 'decide', decided }, on(writer, caller));
      ctx.set('Toka-Seq', String(seq));
      return bus.ask(getApproval, { id, minSeq: seq });
    },
  }),
];
