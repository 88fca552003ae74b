/** What a tool may need. */
export type Capability = 'filesystem-read' | 'filesystem-write';

/** What each capability that an agent names allows. A name that is not here is a label: it grants nothing. */
const allows: ReadonlyMap<string, readonly Capability[]> = new Map([
  ['filesystem-read', ['filesystem-read']],
  ['filesystem-write', ['filesystem-read', 'filesystem-write']],
]);

/** What an agent with these capabilities may do. */
export const allowed = (capabilities: readonly string[]): ReadonlySet<Capability> =>
  new Set(capabilities.flatMap((name) => allows.get(name) ?? []));
