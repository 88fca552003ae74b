import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { Failure, messageOf } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';
import type { Slots } from '#shared/slots.ts';
import type { Config } from '../config.ts';
import { canaries } from './canaries.ts';
import type { Containers } from './containers.ts';
import { openContainers } from './containers.ts';
import type { Lease } from './lease.ts';
import { openLease } from './lease.ts';
import type { Sandbox } from './start.ts';
import { confinePath, startBubblewrap, startUnconfined } from './start.ts';
import { watchTree } from './watch.ts';

export type Tier = 'container' | 'bubblewrap' | 'unconfined' | 'none';

/** How tools are held: `hard` limits are the kernel's, `soft` ones a watcher's. `reason`: why there is no sandbox. */
export type SandboxState = { tier: Tier; limits: 'hard' | 'soft' | 'none'; reason: string };

export type LeaseWish = {
  branch: string;
  author: string;
  memoryBytes: number;
  cpus: number;
  serveEgress: ((connection: Duplex) => void) | undefined;
};

/** The sandboxes that this runner may have. */
export type Sandboxes = {
  state(): SandboxState;
  /** Leases one; waits its turn. Throws `unavailable` where there is no sandbox that works: tools are then not run at all. */
  lease(wish: LeaseWish, signal: AbortSignal): Promise<Lease & AsyncDisposable>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** In a container its cgroup counts: the kernel's own count is of all processes that a user has on a machine, in whatever container. */
const processesMax = { container: 1_000_000, bubblewrap: 128, unconfined: 1_000_000, none: 1 };

/** Chooses how tools are confined, and proves it by attacks that must fail. What does not hold is not used. */
export async function openSandboxes(
  config: Config,
  instance: string,
  slots: Slots,
  logger: Logger,
): Promise<Sandboxes> {
  if (!config.AGENT_SANDBOX_ENABLED && config.CAPABILITY_VALIDATION === 'strict')
    throw new Failure(
      'invalid',
      'AGENT_SANDBOX_ENABLED=false does not go with CAPABILITY_VALIDATION=strict: keep the sandbox, or set warn or off',
    );
  const containers = config.SANDBOX_SOCKETS ? await openContainers(config.SANDBOX_SOCKETS, instance) : undefined;
  const begin = starterOf(config, containers);
  let state: SandboxState = { tier: begin.tier, limits: begin.limits, reason: begin.reason };

  const leaseFrom = (wish: LeaseWish, signal: AbortSignal) => leaseBy(begin, config, wish, signal);
  const closing = new AbortController();
  const prove = async (): Promise<void> => {
    if (!begin.start || begin.tier === 'unconfined') return;
    const wish = {
      branch: 'main',
      author: 'canary',
      memoryBytes: config.MAX_MEMORY_PER_AGENT,
      cpus: config.MAX_CPU_PER_AGENT,
      serveEgress: undefined,
    };
    try {
      const lease = await leaseFrom(wish, AbortSignal.any([AbortSignal.timeout(30_000), closing.signal]));
      const escaped = await canaries(lease).finally(() => lease.end());
      if (escaped.length > 0) throw new Error(`these attacks were not stopped: ${escaped.join('; ')}`);
      state = { tier: begin.tier, limits: begin.limits, reason: begin.reason };
    } catch (error) {
      const isAbsent = containers && error instanceof DOMException && !closing.signal.aborted;
      const reason = isAbsent
        ? 'no sandbox container has offered itself yet'
        : `the sandbox does not hold: ${messageOf(error)}`;
      state = { tier: 'none', limits: 'none', reason };
      // Containers may come up later than this service.
      if (isAbsent) return prove();
      begin.start = undefined;
    }
  };
  const proved = prove().then(() => tell(state, logger));
  // Containers may come up after this service; what is on this machine is proved before any run is taken.
  if (!containers) await proved;

  return {
    state: () => state,
    async lease(wish, signal) {
      await proved;
      if (!begin.start) throw refused(state.reason);
      const giveBack = await slots.take(signal);
      try {
        const lease = await leaseFrom(wish, signal);
        const end = async () => {
          await lease.end();
          giveBack();
        };
        return { ...lease, end, [Symbol.asyncDispose]: end };
      } catch (error) {
        giveBack();
        throw error;
      }
    },
    async [Symbol.asyncDispose]() {
      closing.abort();
      await containers?.[Symbol.asyncDispose]();
    },
  };
}

const refused = (reason: string) =>
  new Failure('invalid', `tools are not run here, for there is no sandbox: ${reason}`);

async function leaseBy(begin: Starter, config: Config, wish: LeaseWish, signal: AbortSignal): Promise<Lease> {
  if (!begin.start) throw refused(begin.reason);
  const { branch, author, memoryBytes, cpus, serveEgress } = wish;
  return openLease(await begin.start(signal, memoryBytes), {
    branch,
    author,
    network: serveEgress !== undefined,
    processesMax: processesMax[begin.tier],
    fileBytesMax: config.MAX_DISK_PER_AGENT,
    serveEgress,
    watch: begin.limits === 'soft' ? (pid, exceeded) => watchTree({ pid, memoryBytes, cpus, exceeded }) : undefined,
  });
}

type Starter = SandboxState & { start: ((signal: AbortSignal, memoryBytes: number) => Promise<Sandbox>) | undefined };

function starterOf(config: Config, containers: Containers | undefined): Starter {
  const none = (reason: string): Starter => ({ tier: 'none', limits: 'none', reason, start: undefined });
  if (!config.AGENT_SANDBOX_ENABLED)
    return {
      tier: 'unconfined',
      limits: 'none',
      reason: 'AGENT_SANDBOX_ENABLED=false',
      start: async () => startUnconfined(join(config.WORKSPACE_DIR, 'unconfined')),
    };
  if (containers) return { tier: 'container', limits: 'hard', reason: '', start: (signal) => containers.take(signal) };
  if (process.platform !== 'linux') return none('it needs Linux; use docker compose on this system');
  const confine = confinePath();
  if (!confine) return none('toka-confine was not built: run npm run setup (it needs a C compiler)');
  if (!['/usr/bin/bwrap', '/usr/local/bin/bwrap', '/bin/bwrap'].some(existsSync))
    return none('bubblewrap is not installed: run npm run setup');
  return {
    tier: 'bubblewrap',
    limits: 'soft',
    reason: '',
    start: async (_, memoryBytes) => startBubblewrap(confine, { memoryBytes, diskBytes: config.MAX_DISK_PER_AGENT }),
  };
}

function tell({ tier, limits, reason }: SandboxState, logger: Logger): void {
  if (tier === 'none') logger.error({ reason }, 'there is no sandbox: every call of a tool will be refused');
  else if (tier === 'unconfined')
    logger.warn('AGENT_SANDBOX_ENABLED=false: whatever a model asks for is run with all the rights of this process');
  else logger.info({ tier, limits }, 'the sandbox holds');
  if (tier === 'bubblewrap' && process.getuid?.() === 0)
    logger.warn(
      'this runner is root: the kernel holds root to no number of processes, and a way out of the sandbox would be root; use another user',
    );
}
