import { z } from 'zod';
import { ApprovalId } from '#shared/contracts/approval.ts';
import { AgentId, RunId } from '#shared/contracts/ids.ts';
import { ApprovalView } from '#shared/contracts/store.ts';
import { endpoint } from './endpoint.ts';
import { pageOf, pageQuery, seqQuery } from './paging.ts';

const params = z.object({ id: ApprovalId });

export const listApprovals = endpoint({
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
});

export const getApproval = endpoint({
  method: 'get',
  path: '/approvals/:id',
  scope: 'runs:read',
  summary: 'Read what a person is asked',
  params,
  query: seqQuery,
  answer: ApprovalView,
});

export const decideApproval = endpoint({
  method: 'post',
  path: '/approvals/:id',
  scope: 'approvals:write',
  summary: 'Approve, deny or answer',
  params,
  body: z.strictObject({
    decision: z.enum(['approved', 'denied', 'answered']),
    /** For a question: of its schema, or a text. */
    answer: z.unknown().optional(),
    reason: z.string().trim().min(1, 'must not be empty').max(2_000, 'must be at most 2000 characters').optional(),
  }),
  answer: ApprovalView,
});
