import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { Failure } from '#shared/errors.ts';
import { createSlots } from '#shared/slots.ts';
import type { Target } from './host.ts';
import { authorityOf, normaliseHost } from './host.ts';
import type { Rules } from './rules.ts';
import { withinSignal } from './within-signal.ts';

/** A way that was checked: who dials it takes these addresses, and never asks for the name again. */
export type Route = Target & { addresses: readonly string[] };

export type Denied = (what: Target & { reason: string }) => void;

export type Routes = {
  find(target: Target): Promise<Route>;
  /** Says no: tells whoever audits, and answers what to throw. */
  deny(target: Target, reason: string): Failure;
  /** Says no to what is no host and port at all. */
  denyUnreadable(written: string): Failure;
};

type Options = {
  rules: Rules;
  resolve?: (host: string) => Promise<string[]>;
  denied?: Denied;
  connectMs: number;
  /** What to do about an address that is not public. */
  advice?: string;
};

// Names are looked up on a few threads that all agents of a process share.
const lookupsMax = 2;

/** Finds ways under an agent's rules: the list first, then one look-up, all of whose answers must be good. */
export function createRoutes({
  rules,
  resolve = lookUp,
  denied = () => undefined,
  connectMs,
  advice = 'Name a public host in network.allow of the agent.',
}: Options): Routes {
  const slots = createSlots(lookupsMax);

  const deny = (target: Target, reason: string) => {
    denied({ ...target, reason });
    return new Failure('forbidden', `${authorityOf(target)}: ${reason}`);
  };

  const lookUpInTurn = async (host: string): Promise<string[]> => {
    const signal = AbortSignal.timeout(connectMs);
    const giveBack = await slots.take(signal);
    const answers = resolve(host).finally(giveBack);
    return await withinSignal(answers, signal);
  };

  return {
    deny,
    denyUnreadable(written) {
      const host = written.replace(/[^\x21-\x7e]/g, '?').slice(0, 260);
      denied({ host, port: 0, reason: 'is no host with a port' });
      return new Failure('forbidden', `${host}: is no host with a port. Name hosts as in network.allow of the agent.`);
    },
    async find(target) {
      const { host } = target;
      if (!rules.allows(target)) throw deny(target, fix(target));
      const answers =
        isIP(host) === 0 ? await lookUpInTurn(host).catch((cause) => Promise.reject(notFound(host, cause))) : [host];
      const addresses = answers.map((each) => (isIP(each) === 0 ? undefined : normaliseHost(each)));
      if (addresses.length === 0) throw notFound(host);
      if (!addresses.every((each) => each !== undefined) || !addresses.every((each) => rules.accepts(target, each))) {
        throw deny(target, `leads to a network that is not public. ${advice}`);
      }
      return { ...target, addresses };
    },
  };
}

const fix = (target: Target) =>
  `is not allowed for this agent. Add "${authorityOf(target)}" to network.allow of the agent.`;

const notFound = (host: string, cause?: unknown) =>
  cause instanceof DOMException
    ? new Failure('timeout', `${host}: looking up its name took too long`)
    : new Failure('upstream', `${host}: there is no such name`, { cause });

const lookUp = async (host: string) => (await lookup(host, { all: true })).map(({ address }) => address);
