import { exemptions } from '#shared/egress/rules.ts';
import type { Context } from '#shared/service.ts';
import type { Config } from '../config.ts';
import type { Attempt } from './attempt.ts';
import { createAttempt } from './attempt.ts';
import { leadDelivery } from './lead.ts';
import type { Seal } from './seal.ts';
import { createSeal } from './seal.ts';
import { openWayOut } from './way-out.ts';

/** Connections beyond one for each webhook: for those who try one out. */
const triesMax = 8;

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
      connections: config.WEBHOOKS_MAX + triesMax,
      timeoutMs,
      ...(resolve && { resolve }),
    }),
  );
  const seal = createSeal(masterSecret);
  const attempt = createAttempt({ wayOut, seal, timeoutMs });
  const { webhooks } = await leadDelivery(context, attempt);
  return { seal, attempt, check: wayOut.check, count: () => webhooks.size, max: config.WEBHOOKS_MAX };
}
