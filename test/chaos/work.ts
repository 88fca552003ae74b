import { setTimeout as delay } from 'node:timers/promises';
import { agentInput } from '#test/helpers/agents.ts';
import { adminToken } from './admin-token.ts';
import type { Item } from './checks/evidence.ts';
import type { WorkKind } from './model.ts';
import { describe, validation, workKinds } from './model.ts';
import { createRandom } from './random.ts';

/** Agents that are made one after the other, and given work again and again. */
export type Works = {
  items: readonly Item[];
  /** Sends what there is room for; `ended`: how many works are done. */
  keepUp(ended: number): void;
  /** Says yes to what agents ask a person for, once to each. */
  approve(requested: readonly string[]): void;
  /** Waits until what was sent is taken. */
  finish(limitMs: number): Promise<void>;
  stop(): void;
};

type Options = {
  apis: readonly string[];
  repository: string;
  agents: number;
  /** Works that are under way at a time. */
  atOnce: number;
  seed: number;
};

const tryMs = 8_000;
const againMs = 500;

export async function openWorks({ apis, repository, agents, atOnce, seed }: Options): Promise<Works> {
  const random = createRandom(seed);
  const token = await adminToken();
  const items: Item[] = [];
  const sending = new Set<Promise<void>>();
  const approved = new Set<string>();
  let stop = false;

  /** As a client does: the same request with the same key, at whichever gateway answers, until one has taken it. */
  const send = async (item: Item, path: string, body: unknown) => {
    const headers = {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      'idempotency-key': item.mark,
    };
    for (let turn = items.length; !stop; turn++) {
      const api = apis[turn % apis.length];
      try {
        const answer = await fetch(`${api}${path}`, {
          method: 'POST',
          headers,
          body: JSON.stringify(body),
          signal: AbortSignal.timeout(tryMs),
        });
        const text = await answer.text();
        if (answer.ok) {
          item.acceptedMs = Date.now();
          return;
        }
        item.refusal = `${answer.status} ${text.slice(0, 300)}`;
        // Nothing that is sent here is wrong.
        if (answer.status < 500 && ![404, 409, 429].includes(answer.status)) return;
      } catch (error) {
        item.refusal ||= String(error);
      }
      await delay(againMs);
    }
  };

  const next = () => {
    const number = items.length + 1;
    const agent = `agent-${((number - 1) % agents) + 1}`;
    const mark = `w-${number}`;
    const kind: WorkKind = random.pick(workKinds);
    const item: Item = { mark, agent, acceptedMs: undefined, refusal: '' };
    items.push(item);
    if (number > agents) return send(item, `/agents/${agent}/runs`, { input: describe(mark, kind) });
    const objective = {
      ...{ description: describe(mark, kind), deliverable: 'end.md' },
      ...{ validation: 'It ends', validation_command: validation },
    };
    // Some have to ask a person first.
    const capabilities =
      number % 5 === 0
        ? { primary: ['filesystem-write'], secondary: ['shell'] }
        : { primary: ['filesystem-write', 'shell'], secondary: [] };
    const limits = { concurrent_runs: 4 };
    return send(
      item,
      '/agents',
      agentInput({ name: agent, repository, capabilities, limits, objectives: [objective] }),
    );
  };

  return {
    items,
    keepUp(ended) {
      while (!stop && items.length - ended < atOnce) {
        const work = next().finally(() => sending.delete(work));
        sending.add(work);
      }
    },
    approve(requested) {
      for (const id of requested) {
        if (approved.has(id)) continue;
        approved.add(id);
        const answer: Item = { mark: id, agent: '', acceptedMs: undefined, refusal: '' };
        void send(answer, `/approvals/${id}`, { decision: 'approved' });
      }
    },
    async finish(limitMs) {
      await Promise.race([Promise.all(sending), delay(limitMs, undefined, { ref: false })]);
    },
    stop() {
      stop = true;
    },
  };
}
