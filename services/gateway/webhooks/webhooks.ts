import type { Webhook } from '#shared/domain/webhook.ts';
import { exemptions } from '#shared/egress/rules.ts';
import { Failure } from '#shared/errors.ts';
import type { Context } from '#shared/service.ts';
import type { Caller } from '../auth.ts';
import type { Config } from '../config.ts';
import { createSeats } from '../seats.ts';
import type { Attempt } from './attempt.ts';
import { createAttempt } from './attempt.ts';
import { leadDelivery } from './lead.ts';
import type { Seal } from './seal.ts';
import { createSeal } from './seal.ts';
import { openWayOut } from './way-out.ts';

/** More than deliveries take, one for each webhook. */
const connectionsMax = 2_000;
/** Webhooks that are tried out, and URLs that are looked up for a new one, at a time: who does that much must not hold up deliveries. */
const tries = { max: 8, callerMax: 4, what: 'webhooks are being tried', retryAfterMs: 1_000 };

/** What the API needs of webhooks. */
export type Webhooks = {
  seal: Seal;
  attempt(caller: Caller, ...tried: Parameters<Attempt>): ReturnType<Attempt>;
  /** Throws `invalid` for a URL that could not be delivered to. */
  check(caller: Caller, url: string): Promise<void>;
  /** Throws `conflict` where there may be no more: in all, or in a workstream, which has half of the places at most. */
  checkRoom(workstream: string | null): void;
};

/** Opens the way out, and delivers where this gateway leads. Secrets are sealed with the first of `masterSecrets`. */
export async function openWebhooks(
  context: Context<Config>,
  masterSecrets: readonly [string, ...string[]],
  resolve?: (host: string) => Promise<string[]>,
): Promise<Webhooks> {
  const { config, stack } = context;
  const timeoutMs = config.WEBHOOK_TIMEOUT * 1000;
  const wayOut = stack.use(
    openWayOut({
      exempt: exemptions(config.WEBHOOK_EXEMPT),
      plain: config.WEBHOOK_PLAIN_HTTP || config.TOKA_DEV,
      connections: connectionsMax,
      timeoutMs,
      ...(resolve && { resolve }),
    }),
  );
  const seal = createSeal(masterSecrets);
  const attempt = createAttempt({ wayOut, seal, timeoutMs });
  const { webhooks } = await leadDelivery(context, attempt, seal);
  const seats = createSeats(tries);
  /** The same, refused where too many are under way: of the caller, or of all. */
  const seated =
    <A extends unknown[], T>(work: (...args: A) => Promise<T>) =>
    async ({ client }: Caller, ...args: A): Promise<T> => {
      const free = seats.take(client);
      return work(...args).finally(free);
    };
  return {
    ...{ seal, attempt: seated(attempt), check: seated(wayOut.check) },
    checkRoom: (workstream) => checkRoom([...webhooks.values()], workstream, config.WEBHOOKS_MAX),
  };
}

function checkRoom(webhooks: readonly Webhook[], workstream: string | null, max: number): void {
  if (webhooks.length >= max)
    throw new Failure('conflict', `there are ${max} webhooks, and no more may be (WEBHOOKS_MAX): delete one`);
  const share = Math.ceil(max / 2);
  const own = webhooks.filter((webhook) => workstream !== null && webhook.workstream === workstream);
  if (own.length >= share)
    throw new Failure(
      'conflict',
      `the workstream "${workstream}" has ${share} webhooks, half of what all may have (WEBHOOKS_MAX): delete one`,
    );
}
