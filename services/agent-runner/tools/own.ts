import type { Bus } from '#shared/bus/bus.ts';
import type { RunLimits } from '#shared/domain/next-action.ts';
import type { Writer } from '#shared/event.ts';
import type { Egress } from '../egress/egress.ts';
import type { Journal } from '../journal.ts';
import { askHuman } from './ask-human.ts';
import { delegate } from './delegate.ts';
import { httpFetch } from './http-fetch.ts';
import { forget, recall, remember } from './memory.ts';
import type { Tool } from './tool.ts';

/** What a tool that the runner itself does works with. */
export type OwnContext = {
  bus: Bus;
  journal: Journal;
  writer: Writer;
  callId: string;
  limits: RunLimits;
  /** Undefined: the agent may not reach anything. */
  egress: Egress | undefined;
  signal: AbortSignal;
  timeoutMs: number;
};

/** The tools that need no sandbox: the runner does them, and nothing of a model's is run. */
export const ownTools: readonly Tool<OwnContext>[] = [httpFetch, remember, recall, forget, askHuman, delegate];

export const findOwnTool = (name: string): Tool<OwnContext> | undefined => ownTools.find((tool) => tool.name === name);
