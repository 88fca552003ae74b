import { isIP } from 'node:net';

/** Where something wants to go: a host in its one written form (an IPv6 address without brackets), and a port. */
export type Target = { host: string; port: number };

const domain = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$/;

/**
 * Any spelling of a host (capitals, trailing dot, full-width digits, decimal, octal or hex addresses, brackets) → its one
 * written form; undefined: it is no host. The URL parser is the judge, as it is for every client.
 */
export function normaliseHost(written: string): string | undefined {
  const bare = isIP(written) === 6 ? `[${written}]` : written;
  if (/[\s/\\?#@%]|[^\]]:[^\]]*$/.test(bare)) return undefined;
  const url = URL.parse(`http://${bare.endsWith('.') ? bare.slice(0, -1) : bare}/`);
  if (url?.port !== '') return undefined;
  const host = url.hostname.startsWith('[') ? url.hostname.slice(1, -1) : url.hostname.replace(/\.$/, '');
  return isIP(host) !== 0 || domain.test(host) ? host : undefined;
}

/** "host:port", "[v6]:port", or with `portElse` the host alone → where it leads; undefined: it is neither. */
export function parseTarget(authority: string, portElse?: number): Target | undefined {
  const [, written = '', digits] = /^(\[[^\]]*\]|[^:[\]]+)(?::(\d{1,5}))?$/.exec(authority) ?? [];
  const host = written && normaliseHost(written);
  const port = digits === undefined ? portElse : Number(digits);
  return host && port !== undefined && port > 0 && port < 65_536 ? { host, port } : undefined;
}

/** As it stands in a CONNECT line: with the port, an IPv6 address in brackets. */
export const authorityOf = ({ host, port }: Target): string => `${host.includes(':') ? `[${host}]` : host}:${port}`;
