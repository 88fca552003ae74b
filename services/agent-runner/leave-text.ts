import { createHash } from 'node:crypto';
import type { AskedApproval, Run } from '#shared/domain/run.ts';
import { scrub } from '#shared/secrets.ts';
import { clip, revealed } from '#shared/text.ts';
import { isDeeperThan } from './mcp/schema.ts';

/** More than a person would read before saying yes. */
const argsCharsMax = 4_000;
const levelsMax = 32;
const fieldsMax = 5;

/** A tool as leave is given for it; `print`: what it was then, as one value, where it may change. */
export type Known = { name: string; print?: string | undefined };

/** What leave is wanted for: one call, or a capability with all the tools that need it, first for this call. */
export type Wish = {
  run: Pick<Run, 'agentId' | 'definition'>;
  tool: Known;
  args: unknown;
  capability: string | null;
  covered: readonly Known[];
  reachesOut: boolean;
};

/** `print`: the tools that it is about, as one value. */
export type LeaveText = { print: string } & ({ question: string } | { problem: string });

/**
 * What a person is asked to approve: exactly what will run, as JSON writes it. `problem`: it cannot be shown so, and is not asked;
 * the model is told why, and what to do instead.
 */
export function leaveText(wish: Wish): LeaveText {
  const print = printOf(wish);
  const shown = shownArgs(wish.args);
  if ('problem' in shown)
    return { print, problem: `A person must approve this call, and is shown exactly what would run. ${shown.problem}` };
  const { run, tool, capability } = wish;
  const what =
    capability === null
      ? `call ${tool.name} once, with exactly these arguments?`
      : `use "${capability}" for the rest of this run, first for this call of ${tool.name}?`;
  const lines = [`May "${run.agentId}" ${what}`, ...scopeOf(wish), shown.text];
  return { print, question: lines.join('\n') };
}

/** Whether an approval is about what would run now: the same tools, and, where it was this very call, the same text. */
export function isStill(approval: AskedApproval, callId: string, now: LeaveText): boolean {
  if (approval.print !== now.print) return false;
  return approval.callId !== callId || ('question' in now && approval.question === now.question);
}

/** What else leave is given for: a person who reads only the arguments would not know. */
function scopeOf({ capability, covered, reachesOut, run }: Wish): string[] {
  const named = covered.map(({ name }) => name).join(', ');
  const hosts = run.definition.network.allow.join(', ');
  return [
    ...(capability === null ? [] : [`It covers each later call, whatever its arguments, of: ${named}.`]),
    ...(reachesOut
      ? [`With it, commands in the sandbox, too, may reach out for the rest of this run: to ${hosts}.`]
      : []),
  ];
}

function printOf({ tool, capability, covered }: Wish): string {
  const tools = (capability === null ? [tool] : covered).map(({ name, print = '' }) => [name, print]);
  return createHash('sha256')
    .update(JSON.stringify([capability, tools]))
    .digest('hex');
}

/** Arguments as JSON in which everything that runs can be seen. */
function shownArgs(args: unknown): { text: string } | { problem: string } {
  if (isDeeperThan(levelsMax, args))
    return { problem: `Its arguments are nested more than ${levelsMax} deep: make a flatter call.` };
  const json = JSON.stringify(args, undefined, 2);
  const text = revealed(json);
  if (scrub(json) !== json || scrub(text) !== text) {
    const where = secretFields(args);
    return {
      problem: `Its arguments hold what looks like a secret${where ? ` (in ${where})` : ''}, which is shown to nobody. Make the call without it: let what runs read it from where it is, such as a file or a variable.`,
    };
  }
  if (text.length > argsCharsMax)
    return {
      problem: `Its arguments have ${text.length} characters, of at most ${argsCharsMax}. Make a shorter call, or several.`,
    };
  return { text };
}

/** Where in the arguments the secrets are, without showing them. */
function secretFields(args: unknown): string {
  const found: string[] = [];
  const look = (value: unknown, path: string): void => {
    if (typeof value === 'string') {
      if (scrub(value) !== value) found.push(path);
    } else if (typeof value === 'object' && value !== null)
      for (const [key, inner] of Object.entries(value)) look(inner, path ? `${path}.${key}` : key);
  };
  look(args, '');
  return found
    .slice(0, fieldsMax)
    .map((path) => clip(revealed(scrub(path)), 100))
    .join(', ');
}
