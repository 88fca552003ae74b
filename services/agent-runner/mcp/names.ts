import { createHash } from 'node:crypto';

const charsMax = 64;
const hashChars = 8;

/** Whether one of the globs (* for any part of a name) means this tool. */
export const isMeant = (globs: readonly string[], tool: string): boolean =>
  globs.some((glob) => new RegExp(`^${glob.split(/\*+/).map(RegExp.escape).join('.*')}$`, 's').test(tool));

const plainName = (server: string, tool: string) => `mcp__${server}__${tool.replace(/[^a-zA-Z0-9_-]/g, '_')}`;

/** What a person may call a tool in a rule, whatever name models call it by. */
export const aliasesOf = (server: string, tool: string): string[] => [
  plainName(server, tool),
  `mcp__${server}__${tool}`,
];

/** The names that models call a server's tools by, in their order: `mcp__<server>__<tool>`, with a hash where that is too long or not the only one. */
export function namesOf(server: string, tools: readonly string[]): string[] {
  const plain = tools.map((tool) => plainName(server, tool));
  return plain.map((name, index) => {
    const only = plain.indexOf(name) === index && plain.lastIndexOf(name) === index;
    if (only && name.length <= charsMax) return name;
    const hash = createHash('sha256')
      .update(tools[index] ?? '')
      .digest('hex')
      .slice(0, hashChars);
    return `${name.slice(0, charsMax - hashChars - 1)}_${hash}`;
  });
}
