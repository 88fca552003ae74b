import type { Definition } from '#shared/contracts/agent.ts';
import type { Capability } from './capabilities.ts';
import { allowed, covers, isAbout } from './capabilities.ts';
import { matches } from './glob.ts';
import type { AskedApproval, Run } from './run.ts';

/** CAPABILITY_VALIDATION: whether what is not granted is refused, let through with a word of it, or without. */
export type Validation = 'strict' | 'warn' | 'off';

/** What a tool needs, and how it is called (`aliases`: in rules too): all that decides whether an agent may use it. */
export type Wanted = { name: string; aliases?: readonly string[]; needs: Capability | null };

/**
 * Whether a call may be made now: `yes` (`by` what people have approved); `ask`: a person must be asked first (for the capability, or for this call);
 * `refused`: a person has said no; `missing`: it is not granted (`anyway`: but made all the same, by CAPABILITY_VALIDATION).
 */
export type Leave =
  | { may: 'yes'; by: readonly AskedApproval[] }
  | { may: 'ask'; kind: 'tool' | 'capability'; capability: string | null }
  | { may: 'refused'; why: string }
  | { may: 'missing'; needs: Capability; anyway: boolean };

/** What an agent may do at once, and what after a person has agreed. */
export function grantsOf({ capabilities }: Definition) {
  return { primary: allowed(capabilities.primary), secondary: allowed(capabilities.secondary) };
}

/** Whether a tool is offered to an agent at all. */
export function isOffered(definition: Definition, { needs }: Wanted): boolean {
  const { primary, secondary } = grantsOf(definition);
  return covers(primary, needs) || covers(secondary, needs);
}

/** Checked where a call is made, whatever was offered. */
export function leaveFor(run: Run, callId: string, tool: Wanted, validation: Validation): Leave {
  const { definition, approvals } = run;
  const { primary, secondary } = grantsOf(definition);
  const needs = tool.needs;
  const by: AskedApproval[] = [];
  if (needs !== null && !covers(primary, needs)) {
    if (!covers(secondary, needs)) return { may: 'missing', needs, anyway: validation !== 'strict' };
    if (validation === 'strict') {
      const asked = approvals.findLast(({ kind, capability }) => kind === 'capability' && capability === needs);
      const leave = decided(asked, { may: 'ask', kind: 'capability', capability: needs });
      if (leave.may !== 'yes') return leave;
      by.push(...leave.by);
    } else if (validation === 'warn') return { may: 'missing', needs, anyway: true };
  }
  if (!needsLeave(definition, tool)) return { may: 'yes', by };
  const asked = approvals.findLast((each) => each.kind === 'tool' && each.callId === callId);
  const leave = decided(asked, { may: 'ask', kind: 'tool', capability: null });
  return leave.may === 'yes' ? { may: 'yes', by: [...by, ...leave.by] } : leave;
}

/** Whether what runs in a sandbox may reach out now: as http_fetch may, by what a person has last said of it in this run. */
export function mayReachOut(run: Run, validation: Validation): boolean {
  const tool: Wanted = { name: 'http_fetch', needs: 'network-access' };
  const said = run.approvals.findLast((each) => each.kind === 'tool' && each.tool === tool.name && each.decided);
  const leave = leaveFor(run, said?.callId ?? '', tool, validation);
  return leave.may === 'yes' || (leave.may === 'missing' && leave.anyway);
}

function decided(asked: AskedApproval | undefined, otherwise: Leave): Leave {
  if (!asked?.decided) return otherwise;
  const { decision, reason } = asked.decided;
  if (decision === 'approved') return { may: 'yes', by: [asked] };
  const why = decision === 'expired' ? 'nobody answered in time' : (reason ?? 'no reason was given');
  return { may: 'refused', why };
}

/** Whether the agent's own definition wants a person to approve each call: by the tool's name, * for any part of it, or by capability. */
function needsLeave({ approvals }: Definition, { name, aliases = [], needs }: Wanted): boolean {
  return approvals.required.some((pattern) =>
    pattern.startsWith('capability:')
      ? isAbout(pattern.slice('capability:'.length), needs)
      : [name, ...aliases].some((each) => matches(pattern, each)),
  );
}
