import { BlockList, isIP } from 'node:net';

// One list per family: Node checks an IPv4 address also against IPv6 rules for ::ffff:0:0/96, and the other way round.
function listOf(...subnets: string[]): BlockList {
  const list = new BlockList();
  for (const each of subnets) addSubnet(list, each);
  return list;
}

/** Adds "10.0.0.0/8" or "fc00::/7"; false: it is no such thing. */
export function addSubnet(list: BlockList, cidr: string): boolean {
  const [, net = '', digits] = /^([^/]+)\/(\d{1,3})$/.exec(cidr) ?? [];
  const family = isIP(net);
  const bits = Number(digits);
  if (family === 0 || net.includes('%') || bits > (family === 4 ? 32 : 128)) return false;
  list.addSubnet(net, bits, family === 4 ? 'ipv4' : 'ipv6');
  return true;
}

export const isIn = (list: BlockList, address: string): boolean =>
  list.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6');

const private4 = listOf('10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16');
const private6 = listOf('::1/128', 'fc00::/7');

/** This network, a cloud's own services, documentation, benchmarks, multicast, and what no one may use. */
const special4 = listOf(
  '0.0.0.0/8',
  '168.63.129.16/32',
  '169.254.0.0/16',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
);

// Only 2000::/3 is given out. That alone leaves out ::, ::1, v4-compatible and v4-mapped, NAT64 (64:ff9b), unique and link local
// and multicast addresses. Within it: Teredo and other protocols' own (2001::/23), 6to4, and two for documentation.
const global6 = listOf('2000::/3');
const special6 = listOf('2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20');

const metadata4 = listOf('169.254.0.0/16', '100.100.100.200/32', '168.63.129.16/32', '192.0.0.192/32');
const metadata6 = listOf('fd00:ec2::254/128', 'fd20:ce::254/128', 'fe80::/10');

/** Whether the address is one of the internet's, and none that leads back inside. */
export function isPublic(address: string): boolean {
  if (address.includes('%')) return false;
  if (isIP(address) === 4) return !isIn(private4, address) && !isIn(special4, address);
  return isIP(address) === 6 && isIn(global6, address) && !isIn(special6, address);
}

/** Whether it is of a network of one's own, where a private registry may stand. */
export const isPrivate = (address: string): boolean =>
  isIP(address) === 4 ? isIn(private4, address) : isIn(private6, address);

/** Whether a cloud hands out its keys there. */
export const isMetadata = (address: string): boolean =>
  isIP(address) === 4 ? isIn(metadata4, address) : isIn(metadata6, address);
