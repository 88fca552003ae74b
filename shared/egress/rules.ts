import { BlockList, isIP } from 'node:net';
import { Failure } from '#shared/errors.ts';
import { addSubnet, isIn, isMetadata, isPrivate, isPublic } from './addresses.ts';
import type { Target } from './host.ts';
import { authorityOf, parseTarget } from './host.ts';

/** What one agent may reach. */
export type Rules = {
  /** Whether the list names this host and port. */
  allows(target: Target): boolean;
  /** Whether a connection there may go to this address. */
  accepts(target: Target, address: string): boolean;
};

/** A setting's list of exemptions, with commas between. */
export const exemptions = (setting: string | undefined): string[] =>
  (setting ?? '')
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');

/** Of a list in which an entry may be written `workstream=…`, those that are for a workstream: its own, and everyone's. */
export const exemptionsFor = (setting: string | undefined, workstream: string): string[] =>
  exemptions(setting).flatMap((entry) => {
    const at = entry.lastIndexOf('=');
    if (at < 0) return [entry];
    return entry.slice(0, at).trim() === workstream ? [entry.slice(at + 1).trim()] : [];
  });

/** Whether each of such a list can be read. */
export const areExemptions = (setting: string): boolean =>
  exemptions(setting).every((entry) => {
    const at = entry.lastIndexOf('=');
    try {
      createRules([], [entry.slice(at + 1).trim()]);
      return at !== 0;
    } catch {
      return false;
    }
  });

type Entry = { host: string; below: boolean; port: number | undefined };

/** `allow`: "host", "*.host", each with ":port" or for 443 and 80. `exempt`: "host:port", "address:port", or a subnet. */
export function createRules(allow: readonly string[], exempt: readonly string[]): Rules {
  const entries = allow.map(parseEntry);
  const { names, addresses, subnets } = parseExempt(exempt);
  return {
    allows: ({ host, port }) =>
      entries.some(
        (entry) =>
          (entry.port === undefined ? port === 443 || port === 80 : entry.port === port) &&
          (entry.below ? isIP(host) === 0 && host.endsWith(`.${entry.host}`) : host === entry.host),
      ),
    accepts({ host, port }, address) {
      if (isPublic(address) || addresses.has(authorityOf({ host: address, port }))) return true;
      // A name is led where its owner likes, and a subnet is wide: neither opens the way to a cloud's keys.
      if (isMetadata(address)) return false;
      return (
        isIn(isIP(address) === 4 ? subnets.v4 : subnets.v6, address) ||
        (names.has(authorityOf({ host, port })) && isPrivate(address))
      );
    },
  };
}

function parseEntry(written: string): Entry {
  const below = written.startsWith('*.');
  const rest = below ? written.slice(2) : written;
  const whole = isIP(rest) === 6 ? `[${rest}]` : rest;
  const target = parseTarget(whole, 443);
  if (!target || (below && isIP(target.host) !== 0)) {
    throw new Failure(
      'invalid',
      `network.allow: "${written}" is no host such as "api.example.com" or "*.example.com:8443"`,
    );
  }
  return { host: target.host, below, port: /:\d+$/.test(whole) ? target.port : undefined };
}

function parseExempt(exempt: readonly string[]) {
  const subnets = { v4: new BlockList(), v6: new BlockList() };
  const names = new Set<string>();
  const addresses = new Set<string>();
  for (const written of exempt) {
    if (addSubnet(written.includes(':') ? subnets.v6 : subnets.v4, written)) continue;
    const target = parseTarget(written);
    if (!target) {
      throw new Failure(
        'invalid',
        `"${written}" is no exemption such as "registry.lan:5000", "10.0.0.5:443" or "10.0.0.0/8"`,
      );
    }
    (isIP(target.host) === 0 ? names : addresses).add(authorityOf(target));
  }
  return { names, addresses, subnets };
}
