/** Who asks may see only what belongs to these workstreams; undefined: everything. */
type Workstreams = readonly string[] | undefined;

/** As the value of a condition below; undefined: the condition does not count. */
export const listOf = (workstreams: Workstreams): string | undefined => workstreams && JSON.stringify(workstreams);

const among = (owner: string) => `${owner} IN (SELECT value FROM json_each(?))`;
const ofRun = (id: string) => `(SELECT workstream FROM runs WHERE id = ${id})`;
const ofAgent = (id: string) => `(SELECT workstream FROM agents WHERE id = ${id})`;
/** An event of an earlier agent of that name is not this one's. */
const ofAgentThen = (id: string) => `(SELECT workstream FROM agents WHERE id = ${id} AND born <= seq)`;
const ofListed = (table: 'keys' | 'webhooks', id: string) =>
  `(SELECT json_extract(state, '$.workstream') FROM ${table} WHERE id = ${id})`;
const ofKey = (id: string) => ofListed('keys', id);
const told = (field: string) => `json_extract(CAST(bytes AS TEXT), '$.data.${field}')`;

/** The workstream of a row of usage, where it has one. */
export const usageOwner = `coalesce(${ofRun('usage.run')}, ${ofAgent('usage.agent')}, ${ofKey('usage.key')})`;

/** Conditions on rows of each table: whose they are. Rows that are nobody's, such as the system's events, are shown to none who is limited. */
export const within = {
  /** Agents and runs. */
  state: among('workstream'),
  approvals: among(ofRun('run')),
  /** Client keys and webhooks. */
  listed: among("json_extract(state, '$.workstream')"),
  events: among(`CASE substr(subject, 1, instr(subject, '/'))
    WHEN 'run/' THEN ${ofRun('substr(subject, 5)')}
    WHEN 'agent/' THEN ${ofAgentThen('substr(subject, 7)')}
    WHEN 'memory/' THEN ${ofAgentThen('substr(subject, 8)')}
    WHEN 'key/' THEN ${ofKey('substr(subject, 5)')}
    WHEN 'webhook/' THEN ${ofListed('webhooks', 'substr(subject, 9)')}
    WHEN 'llm/' THEN coalesce(${ofRun(told('runId'))}, ${ofAgent(told('agentId'))}, ${ofKey('substr(subject, 5)')})
  END`),
  usage: among(usageOwner),
} as const;

/** Whether something of this workstream may be shown. */
export const isWithin = (workstreams: Workstreams, workstream: string | null | undefined): boolean =>
  workstreams === undefined || (typeof workstream === 'string' && workstreams.includes(workstream));
