/** What a model says in one turn. */
export type Turn = { thinking: string; text: string; calls: { name: string; args: Record<string, unknown> }[] };

/** Five calls, as an agent makes them: two of one tool at once, one alone, two of different tools of which one has no arguments. Then the end. */
export const turns: readonly [Turn, Turn, Turn, Turn] = [
  {
    thinking: 'Two files first.',
    text: 'I read both.',
    calls: [
      { name: 'read_file', args: { path: 'a.txt' } },
      { name: 'read_file', args: { path: 'b.txt' } },
    ],
  },
  { thinking: 'One of them names a third.', text: '', calls: [{ name: 'read_file', args: { path: 'ü/"c".txt' } }] },
  {
    thinking: 'Now I write.',
    text: '',
    calls: [
      { name: 'list_files', args: {} },
      { name: 'write_file', args: { path: 'd.txt', content: 'line 1\nline 2 — {"a": [1]}\n' } },
    ],
  },
  { thinking: 'That is all.', text: 'The work is done.', calls: [] },
];

/** Half a text, and the rest. */
export function halves(text: string): string[] {
  const chars = [...text];
  const middle = Math.ceil(chars.length / 2);
  return [chars.slice(0, middle).join(''), chars.slice(middle).join('')].filter((part) => part !== '');
}
