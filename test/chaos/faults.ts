import { setTimeout as delay } from 'node:timers/promises';
import type { Incident } from './checks/evidence.ts';
import type { Fault } from './plan.ts';
import type { World } from './world.ts';

/** Does one fault to its victim, and puts it right again when its time is over. */
export async function harm(world: World, fault: Fault, record: (incident: Incident) => void): Promise<void> {
  const { kind, victim, forMs } = fault;
  // It counts from now on, and to its real end, which on a busy machine may be later than planned.
  const incident = { on: victim, what: kind, fromMs: Date.now(), untilMs: Number.POSITIVE_INFINITY };
  record(incident);
  try {
    await begin(world, fault);
    await delay(forMs);
    await end(world, fault);
  } finally {
    incident.untilMs = Date.now();
  }
}

async function begin(world: World, { kind, victim, amount }: Fault): Promise<void> {
  const { nats, redis, processes, network, disks } = world;
  const server = victim === 'nats' ? nats : victim === 'redis' ? redis : undefined;
  const process = processes.get(victim);
  switch (kind) {
    case 'kill':
      return server ? server.kill() : process?.end('SIGKILL');
    case 'restart':
      return process?.end('SIGTERM');
    case 'stop':
      return (server ?? process)?.signal('SIGSTOP');
    case 'cut':
    case 'drop':
    case 'lose':
      return network.harm({ do: kind, link: victim });
    case 'slow':
      return network.harm({ do: 'slow', link: victim, ms: amount });
    case 'disk':
      return disks.get(victim)?.fill();
    case 'clock':
      return process?.setClock(amount);
  }
}

async function end(world: World, { kind, victim }: Fault): Promise<void> {
  const { nats, redis, processes, network, disks } = world;
  const server = victim === 'nats' ? nats : victim === 'redis' ? redis : undefined;
  const process = processes.get(victim);
  switch (kind) {
    case 'kill':
    case 'restart':
      if (server) return server.start();
      return process?.start();
    case 'stop':
      return (server ?? process)?.signal('SIGCONT');
    case 'cut':
    case 'drop':
    case 'slow':
      return network.harm({ do: 'heal', link: victim });
    case 'lose':
      return undefined; // it lasts until an answer comes
    case 'disk':
      return disks.get(victim)?.free();
    case 'clock':
      return process?.setClock(0);
  }
}

/** Everything as it should be, whatever was under way. */
export async function heal({ victims, network }: World): Promise<void> {
  for (const link of victims.link) await network.harm({ do: 'heal', link });
}
