/**
 * Which addresses are public, against a table and against the block list of
 * `node:net`, which knows nothing of ours.
 *
 * @module
 */

import assert from "node:assert/strict";
import { BlockList, isIPv4, isIPv6 } from "node:net";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  type AddressKind,
  addressFault,
  addressKind,
  parseAddress,
} from "../../src/webhook/address.ts";

const KINDS: readonly (readonly [kind: AddressKind, ...addresses: string[]])[] = [
  ["public", "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0"],
  ["public", "126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255"],
  ["public", "172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0", "198.17.255.255"],
  ["public", "198.20.0.0", "223.255.255.255", "168.63.129.15", "100.128.100.200"],
  ["loopback", "127.0.0.1", "127.0.0.0", "127.255.255.255", "::1", "0:0:0:0:0:0:0:1"],
  ["private", "10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.0"],
  ["private", "192.168.255.255", "100.64.0.0", "100.127.255.255", "fc00::", "fdff:ffff::1"],
  ["private", "fec0::1", "feff::", "64:ff9b:1::1", "64:ff9b:1:ffff::808:808"],
  ["link-local", "169.254.0.0", "169.254.169.254", "169.254.255.255", "fe80::1", "febf::1"],
  ["metadata", "168.63.129.16", "100.100.100.200", "fd00:ec2::254", "fd20:ce::254"],
  ["unspecified", "0.0.0.0", "0.255.255.255", "::"],
  ["multicast", "224.0.0.0", "239.255.255.255", "ff00::", "ff02::1", "ffff::"],
  ["reserved", "240.0.0.0", "255.255.255.254", "255.255.255.255", "192.0.0.1", "192.0.2.1"],
  ["reserved", "198.18.0.0", "198.19.255.255", "198.51.100.9", "203.0.113.9", "192.88.99.1"],
  ["reserved", "2001:db8::1", "3fff::1", "2001::1", "2001:2::1", "2001:1ff:ffff::"],
  ["reserved", "2002:7f00:1::", "2002:808:808::", "4000::", "1fff::", "100::1", "5f00::1"],
  ["public", "2001:4860:4860::8888", "2606:4700::1111", "2001:200::", "3ffe::", "2000::"],
  // Carrying an IPv4 address.
  ["loopback", "::ffff:127.0.0.1", "::ffff:7f00:1", "::FFFF:7F00:0001", "64:ff9b::7f00:1"],
  ["private", "::ffff:10.0.0.1", "::ffff:c0a8:1", "64:ff9b::10.1.2.3", "::ffff:100.64.0.1"],
  ["link-local", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"],
  ["metadata", "::ffff:168.63.129.16"],
  ["unspecified", "::ffff:0.0.0.0", "64:ff9b::"],
  ["public", "::ffff:8.8.8.8", "64:ff9b::808:808"],
  ["reserved", "::127.0.0.1", "::7f00:1", "::8.8.8.8", "::ffff:0:127.0.0.1", "::2"],
  ["reserved", "2001:0:4136:e378:8000:63bf:3fff:fdd2"], // Teredo
  ["invalid", "", "localhost", "127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "127.0.0.01"],
  ["invalid", "256.0.0.1", "1.2.3", "1.2.3.4.5", "1.2.3.4 ", " 1.2.3.4", "1.2.3.-4", "١.1.1.1"],
  ["invalid", ":", ":::", "1::2::3", "fe80::1%eth0", "[::1]", "::1/128", "12345::", "g::"],
  ["invalid", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7::8", ":1::2", "1::2:"],
  ["invalid", "1.2.3.4::", "::1.2.3.4:1", "::1.2.3", "::ffff:127.0.0.01", "::1:"],
];

describe("addressKind()", () => {
  for (const [kind, ...addresses] of KINDS) {
    for (const address of addresses) {
      it(`says ${kind} of "${address}"`, () => assert.equal(addressKind(address), kind));
    }
  }
});

describe("addressFault()", () => {
  const opened: readonly AddressKind[] = ["public", "loopback", "private"];
  for (const [kind, ...addresses] of KINDS) {
    it(`lets nobody but a public address through, unless told to: ${kind} ${addresses[0]}`, () => {
      for (const address of addresses) {
        const closed = addressFault(address, { allowPrivate: false });
        assert.equal(closed === undefined, kind === "public", address);
        const open = addressFault(address, { allowPrivate: true });
        assert.equal(open === undefined, opened.includes(kind), address);
      }
    });
  }

  it("says what the address is", () => {
    assert.equal(addressFault("10.0.0.1", { allowPrivate: false }), "a private address");
    assert.equal(addressFault("nonsense", { allowPrivate: true }), "not an IP address");
  });
});

const anyIpv4 = fc.ipV4();
const anyIpv6 = fc.oneof(
  fc.ipV6(),
  fc.tuple(fc.constantFrom("::ffff:", "64:ff9b::", "::"), fc.ipV4()).map((parts) => parts.join("")),
  fc
    .tuple(fc.constantFrom("2001:", "2002:", "fe80:", "fd00:", "3fff:", "2400:"), fc.nat(0xffff))
    .map(([head, group]) => `${head}${group.toString(16)}::1`),
);
const anyText = fc.oneof(
  anyIpv4,
  anyIpv6,
  fc.stringMatching(/^[0-9a-f:.]{0,20}$/),
  fc.tuple(anyIpv6, fc.nat(40), fc.constantFrom(":", ".", "0", "%")).map(([text, at, more]) => {
    return text.slice(0, at) + more + text.slice(at);
  }),
);

describe("parseAddress()", () => {
  it("takes for an address what node:net takes for one", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        if (text.includes("%")) return parseAddress(text) === undefined;
        const size = isIPv4(text) ? 4 : isIPv6(text) ? 16 : undefined;
        return parseAddress(text)?.length === size;
      }),
      { numRuns: 3000 },
    );
  });
});

describe("addressKind(), beside the block list of node:net", () => {
  const special = new BlockList();
  for (const block of [
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24",
    "192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24",
    "224.0.0.0/3 168.63.129.16/32",
  ].flatMap((line) => line.split(" "))) {
    const [address = "", bits] = block.split("/");
    special.addSubnet(address, Number(bits), "ipv4");
  }

  it("agrees on every IPv4 address, bare or carried", () => {
    const near = fc
      .tuple(
        fc.constantFrom("10", "100", "127", "169", "172", "192", "198", "203", "224"),
        fc.nat(255),
        fc.nat(255),
        fc.nat(255),
      )
      .map((parts) => parts.join("."));
    fc.assert(
      fc.property(fc.oneof(anyIpv4, near), (address) => {
        const isPublic = !special.check(address, "ipv4");
        for (const text of [address, `::ffff:${address}`, `64:ff9b::${address}`]) {
          assert.equal(addressKind(text) === "public", isPublic, text);
        }
      }),
      { numRuns: 3000 },
    );
  });

  it("finds no IPv6 address public outside 2000::/3 that carries none", () => {
    const unicast = new BlockList();
    unicast.addSubnet("2000::", 3, "ipv6");
    fc.assert(
      fc.property(fc.ipV6(), (address) => {
        const isCarrier = /^(::ffff:|0*64:ff9b:)/i.test(address) || address.includes(".");
        return addressKind(address) !== "public" || isCarrier || unicast.check(address, "ipv6");
      }),
      { numRuns: 3000 },
    );
  });
});
