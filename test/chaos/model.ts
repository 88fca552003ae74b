import type { FakeAnswer, FakeReply, FakeRequest } from '#test/helpers/fake-provider.ts';

/** What a piece of work is made of; its name stands in its description, where the model finds it. */
export const workKinds = ['files', 'shell', 'slow'] as const;
export type WorkKind = (typeof workKinds)[number];

/** What an agent is asked to do, so that its calls are known by it wherever they come. */
export const describe = (mark: string, kind: WorkKind): string => `Do the work [[${mark} ${kind}]].`;

const marked = /\[\[([a-z0-9-]+) ([a-z]+)\]\]/;

/** The mark in a text. */
export const markIn = (text: string): string | undefined => marked.exec(text)?.[1];

const call = (...calls: [string, Record<string, unknown>][]): FakeAnswer => ({
  text: 'On it.',
  toolCalls: calls.map(([tool, args]) => ({ tool, args })),
});

const line = 'echo line >> log.txt';

/** Each kind does something that must be done once, and looks. */
const plans: Record<WorkKind, readonly FakeAnswer[]> = {
  files: [
    call(['list_files', { path: '.' }], ['read_file', { path: 'README.md' }]),
    call(['write_file', { path: 'log.txt', content: 'line\n' }]),
    call(['edit_file', { path: 'README.md', old_text: 'small', new_text: 'great' }]),
  ],
  shell: [
    call(['read_file', { path: 'README.md' }]),
    call(['shell', { command: line }]),
    call(['shell', { command: 'cat log.txt' }]),
  ],
  // Longer than a task's lease, and it leaves something running.
  slow: [call(['shell', { command: `sleep 6; (sleep 600 &); ${line}` }]), call(['read_file', { path: 'log.txt' }])],
};

/** Holds at the end of any work: what was to be done once was. */
export const validation = 'test "$(cat log.txt)" = line';

const turnsMax = 30;

/** What the model says: the next step of its plan, or the same again where a call has not come to its end. */
export function says({ forced, tools, turns, messages }: FakeRequest): FakeReply {
  if (forced === 'verdict') return call(['verdict', { pass: true, reasons: [] }]);
  const kind = (marked.exec(messages[0]?.text ?? '')?.[2] ?? 'files') as WorkKind;
  const step = turns < turnsMax ? plans[kind]?.[turnsThatWorked(messages)] : undefined;
  if (step) return notTheSame(step, turns);
  if (!tools.submit_deliverable) return { text: 'The work is done.' };
  return call(['submit_deliverable', { summary: 'done', content: `The end of ${kind}.` }]);
}

/** The same in other words each time: who repeats himself word for word is taken to go in circles. */
const notTheSame = ({ text, toolCalls = [] }: FakeAnswer, turns: number): FakeAnswer => ({
  ...(text === undefined ? {} : { text }),
  toolCalls: toolCalls.map(({ tool, args = {} }) => {
    const { command, path } = args;
    if (typeof command === 'string') return { tool, args: { ...args, command: `${command} # ${turns}` } };
    return { tool, args: typeof path === 'string' ? { ...args, path: './'.repeat(turns % 7) + path } : args };
  }),
});

function turnsThatWorked(messages: FakeRequest['messages']): number {
  let worked = 0;
  for (const [index, { role }] of messages.entries()) {
    if (role !== 'assistant') continue;
    const next = messages.findIndex((other, at) => at > index && other.role === 'assistant');
    const results = messages.slice(index + 1, next < 0 ? undefined : next).filter((each) => each.role === 'tool');
    if (results.length > 0 && !results.some(({ isError }) => isError)) worked += 1;
  }
  return worked;
}
