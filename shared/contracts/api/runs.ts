import { z } from 'zod';
import { NamedArtifact } from '#shared/contracts/artifact.ts';
import { AgentId, Priority, RunId } from '#shared/contracts/ids.ts';
import { ChatMessage } from '#shared/contracts/llm.ts';
import { EventView, RunView, StepView } from '#shared/contracts/store.ts';
import { runStatuses } from '#shared/domain/run.ts';
import { endpoint } from './endpoint.ts';
import { Reason, Sequence, Time } from './input.ts';
import { historyQuery, pageOf, pageQuery, seqQuery } from './paging.ts';

const params = z.object({ id: RunId });

export const listRuns = endpoint({
  method: 'get',
  path: '/runs',
  scope: 'runs:read',
  summary: 'List runs, the newest first',
  query: pageQuery.extend({
    agent: AgentId.optional(),
    status: z.enum(runStatuses).optional(),
    workstream: z.string().max(100).optional(),
    domain: z.string().max(100).optional(),
    priority: Priority.optional(),
    since: Time.optional().describe('Queued at that time or later'),
    until: Time.optional().describe('Queued before that time'),
  }),
  answer: pageOf(RunView),
});

export const getRun = endpoint({
  method: 'get',
  path: '/runs/:id',
  scope: 'runs:read',
  summary: 'Read a run',
  params,
  query: seqQuery,
  answer: RunView,
});

export const getRunState = endpoint({
  method: 'get',
  path: '/runs/:id/state',
  scope: 'runs:read',
  summary: 'How a run stood after one of its events: the run as it was, and all that had been said',
  params,
  query: z.strictObject({
    at: Sequence.optional().describe('The sequence of the last event that counts; the newest unless it is given'),
  }),
  answer: z.object({
    at: z.number().describe('The sequence of the last event that counted'),
    run: RunView,
    messages: z.array(ChatMessage).describe('What the model was told and had said'),
  }),
  ages: true,
});

export const cancelRun = endpoint({
  method: 'post',
  path: '/runs/:id/cancel',
  scope: 'runs:write',
  summary: 'Cancel a run',
  params,
  body: Reason,
  answer: RunView,
});

export const listRunEvents = endpoint({
  method: 'get',
  path: '/runs/:id/events',
  scope: 'events:read',
  summary: 'The events of a run, in order',
  params,
  query: historyQuery,
  answer: pageOf(EventView),
});

export const listSteps = endpoint({
  method: 'get',
  path: '/runs/:id/steps',
  scope: 'runs:read',
  summary: 'The steps of a run: each turn of its model, with tokens and cost',
  params,
  query: historyQuery,
  answer: pageOf(StepView),
});

export const sendMessage = endpoint({
  method: 'post',
  path: '/runs/:id/messages',
  scope: 'runs:write',
  summary:
    'Send a message to a run: after its present step (enqueue), at once (interrupt), or only if it is not at work (reject)',
  params,
  body: z.strictObject({
    text: z.string().trim().min(1, 'must not be empty').max(50_000, 'must be at most 50000 characters'),
    mode: z.enum(['enqueue', 'interrupt', 'reject']).default('enqueue'),
  }),
  status: 202,
  answer: RunView,
});

export const pauseRun = endpoint({
  method: 'post',
  path: '/runs/:id/pause',
  scope: 'runs:write',
  summary: 'Pause a run after what it is at; it holds no runner then',
  params,
  body: Reason,
  answer: RunView,
});

export const resumeRun = endpoint({
  method: 'post',
  path: '/runs/:id/resume',
  scope: 'runs:write',
  summary: 'Let a paused run go on',
  params,
  body: Reason,
  answer: RunView,
});

export const listArtifacts = endpoint({
  method: 'get',
  path: '/runs/:id/artifacts',
  scope: 'runs:read',
  summary: 'What a run handed in, and the files that it keeps',
  params,
  query: seqQuery,
  answer: z.object({ items: z.array(NamedArtifact.extend({ summary: z.string().optional() })) }),
});

export const getArtifact = endpoint({
  method: 'get',
  path: '/runs/:id/artifacts/:name',
  scope: 'runs:read',
  summary: 'The bytes of what a run handed in or keeps; a name with folders in it is percent-encoded',
  params: params.extend({ name: z.string().min(1).max(4_096) }),
  query: seqQuery,
  answer: { mediaType: '*/*' },
  ages: true,
});

export const getDiff = endpoint({
  method: 'get',
  path: '/runs/:id/diff',
  scope: 'runs:read',
  summary: 'What a run changed in its workspace, as a patch',
  params,
  query: seqQuery,
  answer: { mediaType: 'text/x-diff' },
  ages: true,
});
