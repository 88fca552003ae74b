/** What a tool may need. `mcp:<server>` and `delegate:<agent>` are made as they are named. */
const known = [
  'filesystem-read',
  'filesystem-write',
  'shell',
  'code-execution',
  'network-access',
  'git-access',
  'memory',
  'ask-human',
  'delegate',
] as const;
export type Capability = (typeof known)[number] | `mcp:${string}` | `delegate:${string}`;

/** What each capability that an agent names allows beside itself: the one table. A shell can do to the workspace whatever it likes. */
const implied: Readonly<Record<string, readonly Capability[]>> = {
  'filesystem-write': ['filesystem-read'],
  shell: ['filesystem-read', 'filesystem-write'],
  'build-tools': ['shell', 'filesystem-read', 'filesystem-write'],
  'test-execution': ['shell', 'filesystem-read', 'filesystem-write'],
  'code-execution': ['filesystem-read', 'filesystem-write'],
  'git-access': ['filesystem-read'],
};

const isKnown = (name: string) =>
  (known as readonly string[]).includes(name) || Object.hasOwn(implied, name) || /^(mcp|delegate):./.test(name);

/** What an agent with these capabilities may do. */
export const allowed = (capabilities: readonly string[]): ReadonlySet<string> =>
  new Set(capabilities.filter(isKnown).flatMap((name) => [name, ...(implied[name] ?? [])]));

/** Whether a rule for a capability is about what a tool needs; one that no tool needs by its name is about the shell that it allows. */
export function isAbout(name: string, needs: Capability | null): boolean {
  if (needs === null || (known as readonly string[]).includes(name)) return name === needs;
  const may = allowed([name]);
  return may.has('shell') ? needs === 'shell' : covers(may, needs);
}

/** Names that grant nothing: they are labels. */
export const labelsAmong = (capabilities: readonly string[]): string[] => capabilities.filter((name) => !isKnown(name));

/** Whether what an agent may do covers what a tool needs. */
export const covers = (may: ReadonlySet<string>, needs: Capability | null): boolean =>
  needs === null || may.has(needs) || (needs === 'delegate' && [...may].some((name) => name.startsWith('delegate:')));
