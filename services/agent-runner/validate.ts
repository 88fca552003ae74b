import type { RunDraft } from '#shared/contracts/events.ts';
import { clip } from '#shared/text.ts';
import type { Runner } from './execute.ts';
import type { Journal } from './journal.ts';
import { judge } from './model.ts';
import type { Toolbox } from './toolbox.ts';

const outputCharsMax = 8_000;

/** Judges the deliverable: by the work's command in the final workspace, then by its validation; both must be met. Answers the event to record. */
export async function validate(
  { bus, config }: Runner,
  journal: Journal,
  { workbench }: Toolbox,
  content: () => Promise<string>,
  signal: AbortSignal,
): Promise<RunDraft> {
  const { validation, validationCommand } = journal.run.work;
  const command =
    validationCommand === null
      ? undefined
      : await run(workbench, validationCommand, config.TOOL_TIMEOUT_MAX * 1000, signal);
  if (command && command.exitCode !== 0) {
    const reasons = [
      `The command ${JSON.stringify(clip(validationCommand ?? '', 300))} did not end well:\n${command.output}`,
    ];
    return { type: 'toka.run.validated.v1', data: { pass: false, reasons, facts: null, command } };
  }
  if (validation === null)
    return {
      type: 'toka.run.validated.v1',
      data: { pass: true, reasons: [], facts: null, ...(command ? { command } : {}) },
    };
  const verdict = await judge(bus, journal, await content(), signal);
  if (!command || verdict.type !== 'toka.run.validated.v1') return verdict;
  return { ...verdict, data: { ...verdict.data, command } };
}

async function run(workbench: Toolbox['workbench'], command: string, timeoutMs: number, signal: AbortSignal) {
  const { text, killed } = await workbench.check(command, { timeoutMs, signal });
  const code = /\[exit code (\d+)\]$/.exec(text)?.[1];
  return {
    exitCode: code === undefined || killed ? null : Number(code),
    output: clip(killed ? `${text}\n[killed: ${killed}]` : text.slice(-outputCharsMax), outputCharsMax),
  };
}
