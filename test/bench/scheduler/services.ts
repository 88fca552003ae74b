import type { Bus } from '#shared/bus/bus.ts';
import { openBus } from '#shared/bus/bus.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';
import { startNats } from '../runner/nats.ts';
import { startModule } from '../runner/process.ts';

export type Services = {
  folder: string;
  url: string;
  database: string;
  bus: Bus;
  pids: { nats: number; store: number; scheduler: number };
  /** Starts a service, with settings of its own; answers its process. */
  open(file: string, settings?: Record<string, string>): Promise<number>;
};

/** A log, a store and a scheduler, each a process of its own, for as long as the stack is open. `ahead`: TASKS_AHEAD. */
export async function openServices(stack: AsyncDisposableStack, nats: string, ahead: number): Promise<Services> {
  const folder = stack.use(await temporaryFolder()).path;
  const { url, pid } = stack.use(await startNats(nats, false));
  const common = {
    ...{ NATS_URL: url, METRICS_PORT: '0', METRICS_HOST: '127.0.0.1' },
    ...{ CONFIG_FILE: 'none', LOG_LEVEL: 'warn' },
  };
  const open = async (file: string, settings: Record<string, string> = {}) =>
    stack.use(await startModule(file, [], { ...common, ...settings })).pid;
  const database = `${folder}/toka.sqlite`;
  const store = await open('services/store/main.ts', { DATABASE_FILE: database });
  const scheduler = await open('services/scheduler/main.ts', { TASKS_AHEAD: String(ahead) });
  const bus = stack.use(
    await openBus({ url, name: 'bench', leaseMs: 30_000, replicas: 1 }, (error) => console.error(error)),
  );
  return { folder, url, database, bus, pids: { nats: pid, store, scheduler }, open };
}
