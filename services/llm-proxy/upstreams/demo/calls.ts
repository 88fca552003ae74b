import type { ToolCall } from '#shared/contracts/llm.ts';

/** A look at the workspace that the rules know how to take. */
export type Call = Pick<ToolCall, 'tool' | 'args'>;

export const listAll: Call = { tool: 'list_files', args: { path: '.', recursive: true, limit: 2000 } };

export const read = (path: string): Call => ({ tool: 'read_file', args: { path, limit: 400 } });

export const search = (pattern: string, options: { glob?: string; limit: number }): Call => ({
  tool: 'search_files',
  args: { pattern, ...options },
});

/** Where a word stands, in any case. */
export const searchWord = (word: string): Call =>
  search(`(?i:${word.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')})`, { limit: 10 });

/** Equal for calls that look at the same thing. */
export function keyOf({ tool, args }: Call): string {
  const text = (value: unknown) => (typeof value === 'string' ? value : '');
  return JSON.stringify([tool, text(args.path), text(args.pattern), text(args.glob)]);
}

/** A call in words, for the text of a step and for what failed. */
export function describe({ tool, args }: Call): string {
  switch (tool) {
    case 'list_files':
      return 'list the files';
    case 'search_files':
      return `search for ${args.pattern}`;
    default:
      return `read ${args.path}`;
  }
}
