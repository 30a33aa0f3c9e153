/**
 * Which checkUrls are taken.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { addressKind } from "../../src/webhook/address.ts";
import { checkUrlFault, URL_LENGTH_MAX } from "../../src/webhook/mod.ts";
import { readCheckUrl } from "../../src/webhook/url.ts";

const long = (length: number) => `https://hook.example/${"a".repeat(length)}`.slice(0, length);

const TAKEN = [
  "https://hook.example",
  "https://hook.example/check?of=orders&x=%23",
  "HTTPS://Hook.Example:8443/",
  "https://hook.example:443/",
  "https://hook.example./",
  "https://8.8.8.8/hook",
  "https://[2606:4700::1111]/hook",
  "https://localhost.example/",
  "https://bücher.example/",
  "https://notlocalhost/",
  long(URL_LENGTH_MAX),
];

const LOCAL: readonly (readonly [url: string, fault: RegExp])[] = [
  ["http://hook.example/", /^must begin with https/],
  ["https://127.0.0.1/", /^leads to a loopback address$/],
  ["https://127.1/", /loopback/],
  ["https://2130706433/", /loopback/],
  ["https://0x7f.1/", /loopback/],
  ["https://0177.0.0.1/", /loopback/],
  ["https://①②⑦.⓪.⓪.①/", /loopback/],
  ["https://%31%32%37.0.0.1/", /loopback/],
  ["https://127.0.0.1./", /loopback/],
  ["https://[::1]/", /loopback/],
  ["https://[::ffff:127.0.0.1]/", /loopback/],
  ["https://[::ffff:7f00:1]:8443/", /loopback/],
  ["https://localhost/", /loopback/],
  ["https://LOCALHOST./", /loopback/],
  ["https://db.localhost:9000/", /loopback/],
  ["https://10.1.2.3/", /private/],
  ["https://172.16.0.1/", /private/],
  ["https://192.168.1.1/", /private/],
  ["https://100.64.0.1/", /private/],
  ["https://[fd12::1]/", /private/],
  ["https://hook.example:22/", /^must name port 443 or one from 1024$/],
  ["https://hook.example:80/", /port/],
  ["https://hook.example:1023/", /port/],
];

const NEVER: readonly (readonly [url: string, fault: RegExp])[] = [
  ["", /not an absolute URL/],
  ["/check", /not an absolute URL/],
  ["hook.example/check", /not an absolute URL/],
  ["https://", /not an absolute URL/],
  ["https://hook.example:65536/", /not an absolute URL/],
  ["https://[::1%25eth0]/", /not an absolute URL/],
  ["https://[::1/", /not an absolute URL/],
  ["https://1.2.3.4.5/", /not an absolute URL/],
  ["https://hook.example:0/", /port 0/],
  ["file:///etc/passwd", /begin with/],
  ["gopher://hook.example/", /begin with/],
  ["ftp://hook.example/", /begin with/],
  ["ws://hook.example/", /begin with/],
  ["javascript:alert(1)", /begin with/],
  ["data:text/plain,x", /begin with/],
  ["https://user@hook.example/", /credentials/],
  ["https://user:word@hook.example/", /credentials/],
  ["https://:word@hook.example/", /credentials/],
  ["https://hook.example/#there", /fragment/],
  ["https://hook.example/#", /fragment/],
  [" https://hook.example/", /a space/],
  ["https://hook.example/\n", /a space/],
  ["https://hook.example/a b", /a space/],
  ["https://hook\t.example/", /a space/],
  ["https://hook.example/\u0000", /control/],
  ["https:\\\\hook.example\\", /\\/],
  [long(URL_LENGTH_MAX + 1), /longer than 2048/],
  ["https://169.254.169.254/latest/meta-data", /link-local/],
  ["https://[fe80::1]/", /link-local/],
  ["https://[fd00:ec2::254]/", /metadata/],
  ["https://168.63.129.16/", /metadata/],
  ["https://0.0.0.0/", /unspecified/],
  ["https://0/", /unspecified/],
  ["https://[::]/", /unspecified/],
  ["https://224.0.0.1/", /multicast/],
  ["https://255.255.255.255/", /reserved/],
  ["https://198.18.0.1/", /reserved/],
  ["https://[2002:7f00:1::]/", /reserved/],
];

describe("checkUrlFault()", () => {
  for (const url of TAKEN) {
    it(`takes ${url.slice(0, 60)}`, () => {
      assert.equal(checkUrlFault(url, { allowPrivate: false }), undefined);
      assert.equal(checkUrlFault(url, { allowPrivate: true }), undefined);
    });
  }

  for (const [url, fault] of LOCAL) {
    it(`takes ${url} only when private places are allowed`, () => {
      assert.match(checkUrlFault(url, { allowPrivate: false }) ?? "none", fault);
      assert.equal(checkUrlFault(url, { allowPrivate: true }), undefined);
    });
  }

  for (const [url, fault] of NEVER) {
    it(`never takes ${JSON.stringify(url.slice(0, 60))}`, () => {
      assert.match(checkUrlFault(url, { allowPrivate: false }) ?? "none", fault);
      assert.match(checkUrlFault(url, { allowPrivate: true }) ?? "none", fault);
    });
  }

  it("never throws, and takes no address that is not public", () => {
    const url = fc.oneof(
      fc.string(),
      fc.domain().map((host) => `https://${host}/`),
      fc.oneof(fc.ipV4(), fc.ipV4Extended(), fc.nat(0xffff_ffff)).map((host) => `https://${host}/`),
      fc.ipV6().map((host) => `https://[${host}]/`),
    );
    fc.assert(
      fc.property(url, (text) => {
        const read = readCheckUrl(text, { allowPrivate: false });
        if (read.kind === "fault") return;
        const kind = addressKind(read.target.host);
        assert(read.target.secure && (kind === "public" || kind === "invalid"), text);
        assert.doesNotMatch(
          read.target.host,
          kind === "public" ? /[^\da-f:.]/ : /^[\d.]+$|:/,
          text,
        );
      }),
      { numRuns: 500 },
    );
  });
});

describe("readCheckUrl()", () => {
  const targets = [
    ["https://hook.example/a?b=c", "hook.example", 443, "hook.example", "/a?b=c"],
    ["https://Hook.Example.:8443", "hook.example", 8443, "hook.example.:8443", "/"],
    ["http://127.0.0.1:3000/x", "127.0.0.1", 3000, "127.0.0.1:3000", "/x"],
    ["http://[::1]/x", "::1", 80, "[::1]", "/x"],
  ] as const;
  for (const [url, host, port, authority, path] of targets) {
    it(`takes ${url} apart`, () => {
      const read = readCheckUrl(url, { allowPrivate: true });
      assert(read.kind === "target");
      const { secure, hostIsAddress, ...rest } = read.target;
      assert.deepEqual(rest, { host, port, authority, path });
      assert.equal(secure, url.startsWith("https"));
      assert.equal(hostIsAddress, /^[\d:.]+$/.test(host));
    });
  }
});
