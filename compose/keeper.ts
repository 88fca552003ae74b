import { writeFileSync } from 'node:fs';
import { adminUser } from '#shared/bus/users.ts';
import { Failure } from '#shared/errors.ts';
import { startKeeper } from '#shared/keeper/keeper.ts';
import { KeeperConfig } from '#shared/keeper/settings.ts';
import { repeat } from '#shared/repeat.ts';
import { CommonConfig, readSettings } from '#shared/settings.ts';

// The stack's container `keeper`: what only NATS' admin may do, and has to be done all the time. It serves nothing, and nobody asks it.

const healthFile = '/tmp/keeper';
const healthMs = 5_000;

try {
  const config = readSettings(CommonConfig.extend(KeeperConfig.shape), process.env);
  await using stack = new AsyncDisposableStack();
  const keeper = await startKeeper({
    stack,
    admin: {
      url: config.NATS_URL,
      user: adminUser,
      password: config.NATS_PASSWORD,
      name: 'keeper',
      leaseMs: config.TASK_LEASE * 1000,
      replicas: config.NATS_REPLICAS,
    },
    settings: config,
    // Each store's, with commas between.
    files: process.env.DATABASE_FILE?.split(',') ?? [],
    say: (line) => void process.stdout.write(`${line}\n`),
  });
  process.stdout.write('The keeper is at work.\n');
  // For its health check: it serves nothing that could be asked.
  repeat(stack, healthMs, () => (keeper.connected() ? writeFileSync(healthFile, '') : undefined));
  await new Promise((resolve) => process.once('SIGTERM', resolve).once('SIGINT', resolve));
} catch (error) {
  process.stderr.write(`${error instanceof Failure ? error.message : ((error as Error).stack ?? String(error))}\n`);
  process.exitCode = 1;
}
process.exit();
