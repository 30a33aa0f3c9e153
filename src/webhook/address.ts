/**
 * What kind of place an IP address is, and whether a check-back may go there.
 *
 * A checkUrl is a stranger's wish for this node to send a request, so whatever
 * is not plainly a public host is refused: the machine itself, the network
 * around it, and above all the services a cloud keeps for its machines alone
 * ("metadata"), which hand out credentials to whoever asks. The operator can
 * open the own machine and network (`allowPrivate`); the rest stays closed.
 *
 * The table is the special-purpose registries of IANA (RFC 6890, 8190), by
 * longest prefix. IPv6 is public only inside 2000::/3. An address that carries
 * an IPv4 address on the way there (mapped, or NAT64, which networks without
 * IPv4 need) is what that one is; older such forms are refused whatever they
 * carry.
 *
 * Pure: asks no resolver. An address is the text a resolver or a URL gives; one
 * with a zone (`fe80::1%eth0`) is none.
 *
 * @module
 */

export type AddressKind =
  | "public"
  | "loopback"
  | "private"
  | "link-local"
  | "metadata"
  | "unspecified"
  | "multicast"
  | "reserved"
  | "invalid"; // not an address at all

/** What `allowPrivate` opens beside public addresses. */
const OWN_NETWORK: ReadonlySet<AddressKind> = new Set(["loopback", "private"]);

const IPV4: readonly Range[] = ranges([
  ["0.0.0.0/0", "public"],
  ["0.0.0.0/8", "unspecified"], // a connection to 0.0.0.0 reaches the machine itself
  ["10.0.0.0/8", "private"],
  ["100.64.0.0/10", "private"], // shared by a carrier's customers, or an overlay network
  ["100.100.100.200/32", "metadata"], // Alibaba Cloud
  ["127.0.0.0/8", "loopback"],
  ["168.63.129.16/32", "metadata"], // Azure
  ["169.254.0.0/16", "link-local"], // with the metadata service of most clouds
  ["172.16.0.0/12", "private"],
  ["192.0.0.0/24", "reserved"], // protocol assignments
  ["192.0.2.0/24", "reserved"], // documentation
  ["192.88.99.0/24", "reserved"], // 6to4 relays
  ["192.168.0.0/16", "private"],
  ["198.18.0.0/15", "reserved"], // benchmarks
  ["198.51.100.0/24", "reserved"], // documentation
  ["203.0.113.0/24", "reserved"], // documentation
  ["224.0.0.0/4", "multicast"],
  ["240.0.0.0/4", "reserved"], // with the broadcast address
]);

const IPV6: readonly Range[] = ranges([
  ["::/0", "reserved"],
  ["::/128", "unspecified"],
  ["::1/128", "loopback"],
  ["64:ff9b:1::/48", "private"], // NAT64 of one's own network
  ["2000::/3", "public"],
  ["2001::/23", "reserved"], // protocol assignments: Teredo, benchmarks, ORCHID
  ["2001:db8::/32", "reserved"], // documentation
  ["2002::/16", "reserved"], // 6to4
  ["3fff::/20", "reserved"], // documentation
  ["fc00::/7", "private"],
  ["fd00:ec2::/32", "metadata"], // Amazon EC2
  ["fd20:ce::254/128", "metadata"], // Google Cloud
  ["fe80::/10", "link-local"],
  ["fec0::/10", "private"], // site-local, before there was fc00::/7
  ["ff00::/8", "multicast"],
]);

/** Whose last four bytes are an IPv4 address that a connection ends up at. */
const CARRIERS: readonly Range[] = ranges([
  ["::ffff:0:0/96", "public"],
  ["64:ff9b::/96", "public"],
]);

/** Says why a connection to `address` must not be made; undefined when it may. */
export function addressFault(
  address: string,
  { allowPrivate }: { readonly allowPrivate: boolean },
): string | undefined {
  const kind = addressKind(address);
  if (kind === "public" || (allowPrivate && OWN_NETWORK.has(kind))) return undefined;
  return kind === "invalid" ? "not an IP address" : `a ${kind} address`;
}

export function addressKind(address: string): AddressKind {
  const bytes = parseAddress(address);
  return bytes ? kindOf(bytes) : "invalid";
}

/** @returns 4 or 16 bytes, or undefined for a text that is no address. */
export function parseAddress(text: string): readonly number[] | undefined {
  return text.includes(":") ? parseIpv6(text) : parseIpv4(text);
}

function kindOf(bytes: readonly number[]): AddressKind {
  if (bytes.length === 4) return longest(IPV4, bytes);
  const carried = CARRIERS.some((range) => covers(range, bytes));
  return carried ? longest(IPV4, bytes.slice(12)) : longest(IPV6, bytes);
}

interface Range {
  readonly prefix: readonly number[];
  readonly bits: number;
  readonly kind: AddressKind;
}

function ranges(rows: readonly (readonly [block: string, kind: AddressKind])[]): readonly Range[] {
  return rows.map(([block, kind]) => {
    const [address = "", bits] = block.split("/");
    return { prefix: parseAddress(address) ?? [], bits: Number(bits), kind };
  });
}

function longest(table: readonly Range[], bytes: readonly number[]): AddressKind {
  const found = table
    .filter((range) => covers(range, bytes))
    .reduce((best, range) => (range.bits > best.bits ? range : best));
  return found.kind;
}

function covers({ prefix, bits }: Range, bytes: readonly number[]): boolean {
  return prefix.every((byte, at) => {
    const compared = Math.min(8, Math.max(0, bits - 8 * at));
    const mask = 0xff & (0xff00 >> compared);
    return (byte & mask) === ((bytes[at] ?? 0) & mask);
  });
}

/** Four decimal numbers; none of the other forms that some resolvers understand. */
function parseIpv4(text: string): number[] | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  if (!parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255)) {
    return undefined;
  }
  return parts.map(Number);
}

function parseIpv6(text: string): number[] | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const [head, tail] = halves.map((half, index) => groupBytes(half, index === halves.length - 1));
  if (!head || (halves.length === 2 && !tail)) return undefined;
  const missing = 16 - head.length - (tail?.length ?? 0);
  if (tail ? missing < 2 : missing !== 0) return undefined;
  return [...head, ...Array.from({ length: missing }, () => 0), ...(tail ?? [])];
}

/** Groups between colons, of which the last of all may be an IPv4 address. */
function groupBytes(text: string, isEnd: boolean): number[] | undefined {
  if (text === "") return [];
  const groups = text.split(":");
  const bytes: number[] = [];
  for (const [index, group] of groups.entries()) {
    const isLast = isEnd && index === groups.length - 1;
    const dotted = isLast && group.includes(".") ? parseIpv4(group) : undefined;
    if (dotted) bytes.push(...dotted);
    else if (/^[0-9a-f]{1,4}$/i.test(group)) bytes.push(...pair(Number.parseInt(group, 16)));
    else return undefined;
  }
  return bytes;
}

function pair(group: number): [number, number] {
  return [group >> 8, group & 0xff];
}
