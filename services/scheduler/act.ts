import type { Bus } from '#shared/bus/bus.ts';
import type { Task } from '#shared/bus/tasks.ts';
import { commandAgent, foldRun } from '#shared/command.ts';
import type { Draft, RunDraft } from '#shared/contracts/events.ts';
import type { Run } from '#shared/domain/run.ts';
import type { RunCommand } from '#shared/domain/run-commands.ts';
import { decide } from '#shared/domain/run-commands.ts';
import { definitionOf } from '#shared/domain/works.ts';
import { Failure } from '#shared/errors.ts';
import type { Writer } from '#shared/event.ts';
import { newEvent } from '#shared/event.ts';
import type { Action } from './due.ts';

/**
 * Does one action: appends its event, and puts a dispatched run on the queue. Where another writer was first, nothing is done: what it
 * wrote is on its way here.
 */
export async function act(bus: Bus, writer: Writer, action: Action): Promise<void> {
  if (action.do === 'quarantine') {
    await commandAgent(bus, action.agent.id, { type: 'quarantine', reason: action.reason }, writer);
    return;
  }
  if (action.do === 'queue') {
    const { agent, work, occasion } = action;
    const { runId, since, trigger } = occasion;
    const data = { agentId: agent.id, trigger, since, definition: definitionOf(agent.spec), work, parent: null };
    await append(bus, writer, { id: runId, head: 0, version: 0, trace: null }, { type: 'toka.run.queued.v1', data });
    return;
  }
  const { run } = action;
  const [draft] = decide(run, commandOf(action));
  const written = draft && (await append(bus, writer, run, draft));
  if (!written) return;
  if (action.do !== 'dispatch') bus.nudge(run.id);
  else await bus.tasks.add(run.work.priority, taskOf(run, written.seq), written.eventId);
}

/** A run that nothing has happened to since it was queued has just these two events. */
const taskOf = (run: Run, dispatchSeq: number): Task =>
  run.version === run.first
    ? {
        ...{ runId: run.id, dispatch: dispatchSeq, events: [run.first, dispatchSeq] },
        ...(run.trace ? { trace: run.trace } : {}),
      }
    : { runId: run.id, dispatch: dispatchSeq };

function commandOf(action: Exclude<Action, { do: 'queue' | 'quarantine' }>): RunCommand {
  switch (action.do) {
    case 'dispatch':
      return { type: 'dispatch', reason: action.reason };
    case 'put-back':
      return { type: 'put-back', error: action.error, at: action.at };
    case 'fail':
      return { type: 'fail', error: action.error };
    case 'cancel':
      return { type: 'cancel', reason: action.reason };
    case 'expire':
      return { type: 'decide', decided: action.decided };
    case 'tell-parent':
      return { type: 'child-ended', ended: action.ended };
  }
}

type At = Pick<Run, 'id' | 'head' | 'version' | 'trace'>;

/** Undefined: another writer was first. */
async function append(bus: Bus, writer: Writer, at: At, draft: RunDraft) {
  const event = newEvent(draft as Draft, `run/${at.id}`, writer, { correlationid: at.id, trace: at.trace });
  const appendTo = async (head: number) => {
    const seq = await bus.append(event, head).catch((error) => {
      if (error instanceof Failure && error.code === 'conflict') return undefined;
      throw error;
    });
    return seq === undefined ? undefined : { seq, eventId: event.id };
  };
  return (await appendTo(at.head)) ?? (await appendBehind(bus, at, appendTo));
}

/** A runner may have put there what is no part of the run before it was queued: that must not keep it from going. */
async function appendBehind<T>({ history }: Pick<Bus, 'history'>, at: At, appendTo: (head: number) => Promise<T>) {
  const { events, last } = await history('run', at.id);
  const isAsKnown = (foldRun(events)?.version ?? 0) === at.version;
  return isAsKnown && last !== at.head ? appendTo(last) : undefined;
}
