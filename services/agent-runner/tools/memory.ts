import { z } from 'zod';
import { recallMemory } from '#shared/contracts/store.ts';
import { Failure } from '#shared/errors.ts';
import { newEvent } from '#shared/event.ts';
import { idFor } from '#shared/ids.ts';
import { scrub } from '#shared/secrets.ts';
import type { OwnContext } from './own.ts';
import { defineTool } from './tool.ts';

const text = z.string().trim().min(1, 'must not be empty').max(4_000);

export const remember = defineTool({
  name: 'remember',
  description:
    'Keeps a fact for later runs of this agent: one thing that will still be true and of use, in a sentence or two that stand by themselves.',
  needs: 'memory',
  idempotent: true,
  readOnly: false,
  input: z.strictObject({ text: text.describe('The fact.') }),
  async run({ bus, journal: { run }, writer, callId }: OwnContext, args) {
    const id = idFor('mem', run.queuedAt, run.id, callId);
    const data = { id, text: scrub(args.text), runId: run.id };
    await append({ bus, writer, agentId: run.agentId, runId: run.id }, { type: 'toka.memory.remembered.v1', data });
    return { text: `kept as ${id}` };
  },
});

export const recall = defineTool({
  name: 'recall',
  description: 'What this agent has kept in earlier runs: the facts that match best, or without a query the newest.',
  needs: 'memory',
  idempotent: true,
  readOnly: true,
  input: z.strictObject({
    query: z.string().max(1_000).optional().describe('Words to look for.'),
    limit: z.number().int().min(1).max(100).default(10).describe('How many at most.'),
  }),
  async run({ bus, journal: { run }, timeoutMs, signal }: OwnContext, { query, limit }) {
    const question = { agentId: run.agentId, runId: run.id, limit, ...(query ? { query } : {}) };
    const found = await bus.ask(recallMemory, question, { timeoutMs, signal });
    return {
      text: found.map((fact) => `${fact.id} (${fact.time.slice(0, 10)}): ${fact.text}`).join('\n') || 'nothing',
    };
  },
});

export const forget = defineTool({
  name: 'forget',
  description: 'Lets go of a fact that is no longer true.',
  needs: 'memory',
  idempotent: true,
  readOnly: false,
  input: z.strictObject({ id: z.string().max(50).describe('Its id, as recall shows it.') }),
  async run({ bus, journal: { run }, writer }: OwnContext, { id }) {
    if (!/^mem_[0-9A-HJKMNP-TV-Z]{26}$/.test(id)) throw new Failure('invalid', 'id: is not one that recall shows');
    await append(
      { bus, writer, agentId: run.agentId, runId: run.id },
      { type: 'toka.memory.forgotten.v1', data: { id } },
    );
    return { text: 'forgotten' };
  },
});

type Of = Pick<OwnContext, 'bus' | 'writer'> & { agentId: string; runId: string };
type MemoryDraft = Parameters<typeof newEvent<'toka.memory.remembered.v1' | 'toka.memory.forgotten.v1'>>[0];

const append = ({ bus, writer, agentId, runId }: Of, draft: MemoryDraft) =>
  bus.append(newEvent(draft, `memory/${agentId}`, writer, { correlationid: runId }));
