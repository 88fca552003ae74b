import type { Bus } from './bus/bus.ts';
import type { AgentDraft, Draft, KeyDraft, Recorded, RunDraft, WebhookDraft } from './contracts/events.ts';
import { isAgentEvent, isKeyEvent, isRunEvent, isWebhookEvent } from './contracts/events.ts';
import type { Agent, AgentCommand } from './domain/agent.ts';
import * as agents from './domain/agent.ts';
import type { Key, KeyCommand } from './domain/key.ts';
import * as keys from './domain/key.ts';
import type { Run } from './domain/run.ts';
import { evolve as evolveRun } from './domain/run.ts';
import type { RunCommand } from './domain/run-commands.ts';
import { decide as decideRun } from './domain/run-commands.ts';
import type { Webhook, WebhookCommand } from './domain/webhook.ts';
import * as webhooks from './domain/webhook.ts';
import { Failure } from './errors.ts';
import type { Writer } from './event.ts';
import { newEvent } from './event.ts';

const attemptsMax = 5;

export const foldAgent = (events: readonly Recorded[]) =>
  events.filter(isAgentEvent).reduce<Agent | undefined>(agents.evolve, undefined);

export const foldRun = (events: readonly Recorded[]) =>
  events.filter(isRunEvent).reduce<Run | undefined>(evolveRun, undefined);

export const foldKey = (events: readonly Recorded[]) =>
  events.filter(isKeyEvent).reduce<Key | undefined>(keys.evolve, undefined);

export const foldWebhook = (events: readonly Recorded[]) =>
  events.filter(isWebhookEvent).reduce<Webhook | undefined>(webhooks.evolve, undefined);

/** The result of a command: the sequence of the entity's last event, and whether the command added to it. */
export type Outcome = { seq: number; changed: boolean };

/** Commands an agent: read, fold, decide, append; anew when another writer was first. Throws the decision's Failure. */
export const commandAgent = (bus: Bus, id: string, command: AgentCommand, writer: Writer): Promise<Outcome> =>
  decideAndAppend(bus, 'agent', id, writer, (events) => agents.decide(foldAgent(events), command));

/**
 * Commands a run, as `commandAgent` does an agent, and nudges its runner. What a person says lies on a subject of its own, so it does not
 * exclude what others append at that moment: where the run ended first, or another's word was first, that is said as if it had been read.
 */
export async function commandRun(bus: Bus, id: string, command: RunCommand, writer: Writer): Promise<Outcome> {
  const outcome = await decideAndAppend(bus, 'run', id, writer, (events) => decideRun(foldRun(events), command));
  if (!outcome.changed) return outcome;
  bus.nudge(id);
  const { events } = await bus.history('run', id);
  const own = events.find(({ seq }) => seq === outcome.seq);
  if (own?.decision) {
    const before = foldRun(events.filter(({ seq }) => seq < outcome.seq));
    // As it stood when the log had it: throws what the decision would have thrown.
    decideRun(before, command);
  }
  return outcome;
}

/** Commands a client key, as `commandAgent` does an agent. */
export const commandKey = (bus: Bus, id: string, command: KeyCommand, writer: Writer): Promise<Outcome> =>
  decideAndAppend(bus, 'key', id, writer, (events) => keys.decide(foldKey(events), command));

/** Commands a webhook, as `commandAgent` does an agent. */
export const commandWebhook = (bus: Bus, id: string, command: WebhookCommand, writer: Writer): Promise<Outcome> =>
  decideAndAppend(bus, 'webhook', id, writer, (events) => webhooks.decide(foldWebhook(events), command));

async function decideAndAppend(
  bus: Bus,
  entity: 'agent' | 'run' | 'key' | 'webhook',
  id: string,
  writer: Writer,
  decide: (events: Recorded[]) => (AgentDraft | RunDraft | KeyDraft | WebhookDraft)[],
): Promise<Outcome> {
  for (let attempt = 1; ; attempt++) {
    const { events, last, lastDecision } = await bus.history(entity, id);
    const expected = { own: last, decision: lastDecision };
    let seq = events.at(-1)?.seq ?? 0;
    const drafts = decide(events);
    try {
      for (const draft of drafts) {
        const links = { correlationid: id, trace: entity === 'run' ? foldRun(events.slice(0, 1))?.trace : null };
        const event = newEvent(draft as Draft, `${entity}/${id}`, writer, links);
        const place = event.decision ? 'decision' : 'own';
        seq = await bus.append(event, expected[place]);
        expected[place] = seq;
      }
      return { seq, changed: drafts.length > 0 };
    } catch (error) {
      if (!(error instanceof Failure && error.code === 'conflict') || attempt === attemptsMax) throw error;
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 20 * attempt));
    }
  }
}
