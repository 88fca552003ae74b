import { openBus } from '#shared/bus/bus.ts';

/** Lets services append where a test has no store that would compare log and archive: as one does that finds nothing missing. */
export async function openGate(url: string, admin: { user?: string; password?: string } = {}): Promise<void> {
  await using bus = await openBus({ url, ...admin, name: 'gate', leaseMs: 1_000, replicas: 1 }, () => undefined);
  const place = bus.gate.place() ?? '';
  await bus.gate.give({ place, state: 'ok', reason: '', archive: 'none', time: new Date().toISOString() });
}
