import { exemptions } from '#shared/egress/rules.ts';
import { Failure } from '#shared/errors.ts';
import type { Context } from '#shared/service.ts';
import type { Config } from '../config.ts';
import type { Attempt } from './attempt.ts';
import { createAttempt } from './attempt.ts';
import { leadDelivery } from './lead.ts';
import type { Seal } from './seal.ts';
import { createSeal } from './seal.ts';
import { openWayOut } from './way-out.ts';

/** More than deliveries take, one for each webhook. */
const connectionsMax = 2_000;
/** Webhooks that are tried out, and URLs that are looked up for a new one, at a time: who does that much must not hold up deliveries. */
const triesMax = 8;
const retryAfterMs = 1_000;

/** What the API needs of webhooks. */
export type Webhooks = {
  seal: Seal;
  attempt: Attempt;
  /** Throws `invalid` for a URL that could not be delivered to. */
  check(url: string): Promise<void>;
  /** How many there are, and may be. */
  count(): number;
  max: number;
};

/** Opens the way out, and delivers where this gateway leads. Secrets are sealed with `masterSecret`. */
export async function openWebhooks(
  context: Context<Config>,
  masterSecret: string,
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
  const seal = createSeal(masterSecret);
  const attempt = createAttempt({ wayOut, seal, timeoutMs });
  const { webhooks } = await leadDelivery(context, attempt);
  return {
    ...{ seal, attempt: fewAtATime(attempt), check: fewAtATime(wayOut.check) },
    ...{ count: () => webhooks.size, max: config.WEBHOOKS_MAX },
  };
}

/** The same, refused with `limited` where `triesMax` are under way. */
function fewAtATime<A extends unknown[], T>(work: (...args: A) => Promise<T>): (...args: A) => Promise<T> {
  let busy = 0;
  return async (...args) => {
    if (busy >= triesMax)
      throw new Failure('limited', `${busy} webhooks are being tried, and no more may be at a time`, { retryAfterMs });
    busy += 1;
    return work(...args).finally(() => {
      busy -= 1;
    });
  };
}
