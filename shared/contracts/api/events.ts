import { z } from 'zod';
import { AgentId } from '#shared/contracts/ids.ts';
import { EventView } from '#shared/contracts/store.ts';
import { endpoint } from './endpoint.ts';
import { Sequence } from './input.ts';

export const streamEvents = endpoint({
  method: 'get',
  path: '/events',
  scope: 'events:read',
  summary: 'The live log as Server-Sent Events; it goes on after Last-Event-ID without a gap',
  query: z.strictObject({
    subject: z
      .string()
      .regex(
        /^(agent|run|memory|key|webhook|llm|system)\/([A-Za-z0-9_-]{1,100}|\*)$/,
        'must be such as "run/run_01…", or "run/*"',
      )
      .optional(),
    type: z
      .string()
      .regex(
        /^[a-z0-9.-]{1,100}\*?(,[a-z0-9.-]{1,100}\*?){0,19}$/,
        'must be types such as "toka.run.completed.v1", or their beginnings and "*", with commas between',
      )
      .optional(),
    agent: AgentId.optional().describe('Its own events, and those of its runs, memory and model calls'),
    workstream: z.string().min(1).max(100).optional(),
    since: Sequence.optional(),
  }),
  headers: z.object({ 'Last-Event-ID': Sequence.optional() }),
  answer: { mediaType: 'text/event-stream' },
});

export const getEvent = endpoint({
  method: 'get',
  path: '/events/:seq',
  scope: 'events:read',
  summary: 'One event by its sequence',
  params: z.object({ seq: Sequence }),
  answer: EventView,
});
