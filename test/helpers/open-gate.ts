import type { Bus } from '#shared/bus/bus.ts';

/** Lets services append where a test has no store that would compare log and archive: as one does that finds nothing missing. */
export async function openGate({ gate }: Pick<Bus, 'gate'>): Promise<void> {
  const place = gate.place() ?? '';
  await gate.give({ place, state: 'ok', reason: '', archive: 'none', time: new Date().toISOString() });
}
