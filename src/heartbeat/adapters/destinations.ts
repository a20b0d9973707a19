import { lookup, type LookupAddress } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';

/** Nothing that an agent is told may make this server speak to itself, or to what only its machine or its cloud reaches. */
const REFUSED = [
  // This machine, and "this network".
  ...['127.0.0.0/8', '0.0.0.0/8', '::/96'],
  // The link, where clouds keep their metadata; and where some keep it elsewhere.
  ...['169.254.0.0/16', 'fe80::/10', 'fec0::/10'],
  ...['100.100.100.200/32', '168.63.129.16/32', '192.0.0.0/24', 'fd00:ec2::254/128'],
  // Many at once, and nobody.
  ...['224.0.0.0/4', '240.0.0.0/4', 'ff00::/8'],
  // Ways of writing an address of the old kind as one of the new, of which only the mapped one is looked through.
  ...['64:ff9b::/96', '64:ff9b:1::/48', '2001::/32', '2002::/16'],
];

/** The address that a call would go to is not one that agents may be called at. */
export class DestinationRefusedError extends Error {
  constructor(host: string) {
    super(
      `${host} is an address of this machine, of its link or of nobody in particular, which agents are not called at ` +
        'unless BERTH_HTTP_ALLOW names it',
    );
  }
}

/** Finds addresses as `dns.lookup` does. */
type Resolve = (
  host: string,
  options: { all: true; hints?: number; family?: number | 'IPv4' | 'IPv6' },
  done: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

/** Where calls may go. Private networks are free: agents live there. */
export class Destinations {
  private readonly refused = listOf(REFUSED);
  private readonly allowed: BlockList;

  /** @param allow addresses and networks that are free although they are refused otherwise. */
  constructor(
    allow: readonly string[],
    private readonly resolve: Resolve = lookup,
  ) {
    this.allowed = listOf(allow);
  }

  /**
   * A host that is an address already is not looked up by anybody.
   * @throws DestinationRefusedError
   */
  assertFree({ hostname }: URL): void {
    const address = hostname.replace(/^\[|\]$/g, '');
    if (isIP(address) !== 0 && !this.isFree(address)) throw new DestinationRefusedError(address);
  }

  /**
   * Looks a host up for a connection, which goes to one of the addresses that are handed over here and to no other: a
   * name that means something else a moment later gains nothing.
   */
  readonly lookup: LookupFunction = (host, options, done) => {
    this.resolve(host, { hints: options.hints, family: options.family, all: true }, (error, found) => {
      if (error) return done(error, []);
      const free = found.filter(({ address }) => this.isFree(address));
      const [first] = free;
      if (!first) return done(new DestinationRefusedError(host), []);
      if (options.all) done(null, free);
      else done(null, first.address, first.family);
    });
  };

  private isFree(address: string): boolean {
    const [plain = ''] = address.split('%', 1);
    const kind = isIP(plain) === 6 ? 'ipv6' : 'ipv4';
    return this.allowed.check(plain, kind) || !this.refused.check(plain, kind);
  }
}

function listOf(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', prefix] = network.split('/');
    const kind = isIP(address) === 6 ? 'ipv6' : 'ipv4';
    if (prefix === undefined) list.addAddress(address, kind);
    else list.addSubnet(address, Number(prefix), kind);
  }
  return list;
}
