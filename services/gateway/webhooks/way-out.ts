import { openDialer } from '#shared/egress/dialer.ts';
import { parseTarget } from '#shared/egress/host.ts';
import { createRoutes } from '#shared/egress/routes.ts';
import { createRules } from '#shared/egress/rules.ts';
import type { Send } from '#shared/egress/send.ts';
import { createSend } from '#shared/egress/send.ts';
import { messageOf } from '#shared/errors.ts';
import { refusal } from '../input.ts';

export type WayOutOptions = {
  /** Private addresses that may be reached all the same: "host:port", "address:port" or a subnet. */
  exempt: readonly string[];
  /** Whether http:// will do. */
  plain: boolean;
  /** Connections that may be open at a time. */
  connections: number;
  /** For one delivery. */
  timeoutMs: number;
  resolve?: (host: string) => Promise<string[]>;
};

/** The way to webhooks' receivers: to public addresses alone, each checked when it is connected to, and no redirect is followed. */
export type WayOut = {
  send: Send;
  /** Throws `invalid`, naming the field `url`, for one that could not be delivered to. */
  check(url: string): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

const connectMsMax = 10_000;
const advice = 'A receiver inside must be named in WEBHOOK_EXEMPT.';

export function openWayOut({ exempt, plain, connections, timeoutMs, resolve }: WayOutOptions): WayOut {
  const connectMs = Math.min(timeoutMs, connectMsMax);
  const rules = { ...createRules([], exempt), allows: () => true };
  // Anew for each use: whoever has a slow name server keeps no other from looking up theirs.
  const routes = () => createRoutes({ rules, connectMs, advice, ...(resolve && { resolve }) });
  const dialer = openDialer({ connections, connectMs, idleMs: timeoutMs });
  const checkScheme = ({ protocol }: URL) => {
    if (protocol !== 'https:' && !plain)
      throw refusal([{ field: 'url', message: 'must begin with https://; WEBHOOK_PLAIN_HTTP=true lets http:// pass' }]);
  };
  return {
    async send(url, sending) {
      checkScheme(url);
      return createSend({ routes: routes(), dialer })(url, sending);
    },
    async check(text) {
      const url = new URL(text);
      checkScheme(url);
      const target = parseTarget(url.host, url.protocol === 'https:' ? 443 : 80);
      if (!target) throw refusal([{ field: 'url', message: 'has no host that can be reached' }]);
      await routes()
        .find(target)
        .catch((error) => {
          throw refusal([{ field: 'url', message: `cannot be delivered to: ${messageOf(error)}` }]);
        });
    },
    [Symbol.asyncDispose]: () => dialer[Symbol.asyncDispose](),
  };
}
