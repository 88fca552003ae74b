import { openBus } from '#shared/bus/bus.ts';
import { adminUser } from '#shared/bus/users.ts';
import { Failure } from '#shared/errors.ts';
import { fillLog } from '#shared/keeper/fill-log.ts';
import { CommonConfig, readSettings } from '#shared/settings.ts';

// The stack's second container: makes the streams, as the user of NATS that may, puts back what the log has lost at its end,
// and ends. Services may only look at streams.

const file = process.env.DATABASE_FILE;

try {
  const config = readSettings(CommonConfig, process.env);
  const bus = await openBus(
    {
      url: config.NATS_URL,
      user: adminUser,
      password: config.NATS_PASSWORD,
      name: 'set-up-nats',
      leaseMs: config.TASK_LEASE * 1000,
      replicas: config.NATS_REPLICAS,
    },
    () => undefined,
  );
  await bus[Symbol.asyncDispose]();
  const { NATS_URL: url, NATS_PASSWORD: password } = config;
  const done = file && (await fillLog(file, { url, user: adminUser, password }));
  process.stdout.write(`${done ? `${done}\n` : ''}The streams are in order.\n`);
  process.exit(0);
} catch (error) {
  process.stderr.write(`${error instanceof Failure ? error.message : ((error as Error).stack ?? String(error))}\n`);
  process.exit(1);
}
