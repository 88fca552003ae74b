import { z } from 'zod';
import { AgentSpec } from '#shared/contracts/agent.ts';
import { AgentId, RunId } from '#shared/contracts/ids.ts';
import { RunView } from '#shared/contracts/store.ts';
import { endpoint } from './endpoint.ts';
import { Time } from './input.ts';

const aheadMsMax = 366 * 86_400_000;
export const backfillMax = 500;

export const startRun = endpoint({
  method: 'post',
  path: '/agents/:id/runs',
  scope: 'runs:write',
  summary: 'Queue a run, now or for a time to come',
  params: z.object({ id: AgentId }),
  body: z
    .strictObject({
      /** What the agent is to do, once, as a task of its own. */
      input: z.string().trim().min(1, 'must not be empty').max(20_000, 'must be at most 20000 characters').optional(),
      /** The id of an objective that is to be worked on anew. */
      objective: z.string().max(63, 'must be at most 63 characters').optional(),
      /** When it may begin; at once where it is not given. */
      runAt: z.iso
        .datetime({ offset: true, message: 'must be a time such as "2026-01-31T06:00:00Z"' })
        .refine((time) => Date.parse(time) < Date.now() + aheadMsMax, 'must be within a year from now')
        .transform((time) => new Date(time).toISOString())
        .optional(),
    })
    .refine(({ input, objective }) => (input === undefined) !== (objective === undefined), {
      message: 'must have either "input" or "objective"',
    }),
  status: 202,
  answer: RunView,
  waits: true,
});

export const retryRun = endpoint({
  method: 'post',
  path: '/runs/:id/retry',
  scope: 'runs:write',
  summary: 'Do a run that failed or was cancelled once more, as a run of its own, by the agent as it is now',
  params: z.object({ id: RunId }),
  body: z.strictObject({}).optional(),
  status: 202,
  answer: RunView,
  waits: true,
});

const at = z
  .number()
  .int('must be the seq of one of its events')
  .positive('must be the seq of one of its events')
  .describe('The sequence of the last event that counts; the newest unless it is given');

export const forkRun = endpoint({
  method: 'post',
  path: '/runs/:id/fork',
  scope: 'runs:write',
  summary:
    'Go on from how a run stood, with its conversation and its workspace, as a run of its own by the agent as it is now',
  params: z.object({ id: RunId }),
  body: z
    .strictObject({
      at: at.optional(),
      message: z
        .string()
        .trim()
        .min(1, 'must not be empty')
        .max(20_000, 'must be at most 20000 characters')
        .optional()
        .describe('What a person says to it there'),
      overrides: AgentSpec.pick({ model: true, instructions: true })
        .optional()
        .describe("What is otherwise than the agent's own, for this run"),
    })
    .optional(),
  status: 202,
  answer: RunView,
  waits: true,
  ages: true,
});

export const backfill = endpoint({
  method: 'post',
  path: '/agents/:id/backfill',
  scope: 'runs:write',
  summary: `Make up for times of an agent's schedule, ${backfillMax} runs at most; those that had their run are left out`,
  params: z.object({ id: AgentId }),
  body: z.strictObject({ from: Time, to: Time }),
  status: 202,
  answer: z.object({ queued: z.array(RunId), already: z.array(RunId) }),
});
