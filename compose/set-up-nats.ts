import { openBus } from '#shared/bus/bus.ts';
import { adminUser } from '#shared/bus/users.ts';
import { mendLogFrom } from '#shared/dev/launch/mend.ts';
import { Failure } from '#shared/errors.ts';
import { CommonConfig, readSettings } from '#shared/settings.ts';

// The stack's second container: makes the streams, as the user of NATS that may, puts back what the log has lost at its end,
// and ends. Services may only look at streams.

/** What a power cut has taken from the log's end comes back from the archive before anybody appends. The rest is for a person: the store says it. */
async function mendEnd({ NATS_URL: url, NATS_PASSWORD: password }: CommonConfig): Promise<string> {
  const file = process.env.DATABASE_FILE;
  if (!file) return '';
  try {
    const done = await mendLogFrom(file, { url, user: adminUser, password }, 'fill');
    return done ? `${done}\n` : '';
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return `${error.message}\n`;
  }
}

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
  process.stdout.write(`${await mendEnd(config)}The streams are in order.\n`);
  process.exit(0);
} catch (error) {
  process.stderr.write(`${error instanceof Failure ? error.message : ((error as Error).stack ?? String(error))}\n`);
  process.exit(1);
}
