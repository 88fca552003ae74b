import { z } from 'zod';
import { AgentSpec } from '#shared/contracts/agent.ts';
import { AgentId, MemoryId, Priority } from '#shared/contracts/ids.ts';
import { AgentView, Memory } from '#shared/contracts/store.ts';
import { agentStatuses } from '#shared/domain/agent.ts';
import { endpoint } from './endpoint.ts';
import { Reason } from './input.ts';
import { historyQuery, pageOf, pageQuery, seqQuery } from './paging.ts';

const params = z.object({ id: AgentId });
/** An agent's version as GET gave it. */
const IfMatch = z
  .string()
  .regex(/^(\*|"\d{1,15}")$/, 'must be an ETag that GET gave, such as "17" in quotes')
  .optional()
  .describe('The ETag that GET gave: it is replaced only if it is still that one; or "*": whatever it is');

export const listAgents = endpoint({
  method: 'get',
  path: '/agents',
  scope: 'agents:read',
  summary: 'List agents by name',
  query: pageQuery.extend({
    status: z.enum(agentStatuses).exclude(['removed']).optional(),
    workstream: z.string().max(100).optional(),
    domain: z.string().max(100).optional(),
    priority: Priority.optional(),
  }),
  answer: pageOf(AgentView),
});

export const createAgent = endpoint({
  method: 'post',
  path: '/agents',
  scope: 'agents:write',
  summary: 'Create an agent; names are shared by all workstreams, and one that any has, or had, is refused with 409',
  body: AgentSpec,
  status: 201,
  answer: AgentView,
});

export const getAgent = endpoint({
  method: 'get',
  path: '/agents/:id',
  scope: 'agents:read',
  summary: 'Read an agent',
  params,
  // Read from the log, it holds every write anyway.
  query: seqQuery,
  answer: AgentView,
});

export const replaceAgent = endpoint({
  method: 'put',
  path: '/agents/:id',
  scope: 'agents:write',
  summary: 'Replace an agent that is still at the version of If-Match',
  params,
  headers: z.object({ 'If-Match': IfMatch }),
  body: AgentSpec,
  answer: AgentView,
});

export const removeAgent = endpoint({
  method: 'delete',
  path: '/agents/:id',
  scope: 'agents:write',
  summary: 'Remove an agent and what it remembers; its runs and events stay',
  params,
  status: 204,
  answer: null,
});

export const pauseAgent = endpoint({
  method: 'post',
  path: '/agents/:id/pause',
  scope: 'agents:write',
  summary: 'Pause an agent: nothing new is started',
  params,
  body: Reason,
  answer: AgentView,
});

export const resumeAgent = endpoint({
  method: 'post',
  path: '/agents/:id/resume',
  scope: 'agents:write',
  summary: 'Let a paused agent go on',
  params,
  body: Reason,
  answer: AgentView,
});

export const listMemories = endpoint({
  method: 'get',
  path: '/agents/:id/memories',
  scope: 'agents:read',
  summary: 'List what an agent has kept from its runs, the newest first',
  params,
  query: historyQuery,
  answer: pageOf(Memory),
});

export const forgetMemory = endpoint({
  method: 'delete',
  path: '/agents/:id/memories/:memoryId',
  scope: 'agents:write',
  summary: 'Have an agent forget something; the event of it stays',
  params: params.extend({ memoryId: MemoryId.describe('Its id, as the list has it') }),
  status: 204,
  answer: null,
});
