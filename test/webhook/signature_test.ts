/**
 * Signatures, checked by a second implementation (WebCrypto, as a receiver
 * would), and by bytes that OpenSSL made.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { describe, it } from "node:test";
import fc from "fast-check";
import { hmac } from "../../storage/base/hmac_node.ts";
import { secretFault } from "../../src/webhook/mod.ts";
import { keyOf, signatureHeaders } from "../../src/webhook/signature.ts";

const utf8 = new TextEncoder();
const now = 1_700_000_000_999;
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const base64 = (size: number) => Buffer.alloc(size, 7).toString("base64");

describe("hmac()", () => {
  // RFC 4231, test cases 1, 2 and 6.
  const vectors = [
    [
      new Uint8Array(20).fill(0x0b),
      "Hi There",
      "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
    ],
    [
      utf8.encode("Jefe"),
      "what do ya want for nothing?",
      "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ],
    [
      new Uint8Array(131).fill(0xaa),
      "Test Using Larger Than Block-Size Key - Hash Key First",
      "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ],
  ] as const;
  for (const [key, text, mac] of vectors) {
    it(`is the standard's for "${text}"`, () => {
      assert.equal(hex(hmac(key, utf8.encode(text))), mac);
    });
  }
});

/** What the other side does with what it received. */
async function verifies(
  headers: Record<string, string>,
  { secret, body }: { secret: string; body: Uint8Array<ArrayBuffer> },
) {
  const raw = secret.startsWith("whsec_")
    ? Buffer.from(secret.slice(6), "base64")
    : Buffer.from(secret);
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", raw, algorithm, false, ["verify"]);
  const { "webhook-id": id, "webhook-timestamp": time, "webhook-signature": signature } = headers;
  const signed = Buffer.concat([Buffer.from(`${id}.${time}.`), body]);
  const [version, mac = ""] = (signature ?? "").split(",");
  return (
    version === "v1" &&
    (await crypto.subtle.verify("HMAC", key, Buffer.from(mac, "base64"), signed))
  );
}

function sign(secret: string, body: Uint8Array, id = "tx1-1"): Record<string, string> {
  return signatureHeaders({ id, now, body }, { key: keyOf(secret), hmac });
}

describe("signatureHeaders()", () => {
  // printf 'tx1-1.1700000000.{"a":1}' | openssl dgst -sha256 -mac HMAC -macopt hexkey:0707… -binary | base64
  it("are the bytes that OpenSSL makes", () => {
    assert.deepEqual(sign(`whsec_${base64(24)}`, utf8.encode('{"a":1}')), {
      "webhook-id": "tx1-1",
      "webhook-timestamp": "1700000000",
      "webhook-signature": "v1,0e91K4L3V7SHsV4E96vetRQGEqedqsCpqL6B3StjzNE=",
    });
  });

  it("are without a signature when there is no key", () => {
    const signed = { id: "tx1-1", now, body: utf8.encode("{}") };
    assert.deepEqual(signatureHeaders(signed, { key: undefined, hmac }), {
      "webhook-id": "tx1-1",
      "webhook-timestamp": "1700000000",
    });
  });

  it("are accepted by a receiver, and by none after a change", async () => {
    const secret = fc.oneof(
      fc
        .uint8Array({ minLength: 24, maxLength: 64 })
        .map((key) => `whsec_${Buffer.from(key).toString("base64")}`),
      fc
        .string({ minLength: 24, maxLength: 64, unit: "grapheme-ascii" })
        .filter((text) => !text.startsWith("whsec_")),
    );
    await fc.assert(
      fc.asyncProperty(
        secret,
        fc.uint8Array({ minLength: 1, maxLength: 200 }),
        async (one, bytes) => {
          const body = new Uint8Array(bytes);
          const headers = sign(one, body);
          assert(await verifies(headers, { secret: one, body }));
          assert(!(await verifies({ ...headers, "webhook-id": "tx1-2" }, { secret: one, body })));
          assert(
            !(await verifies(
              { ...headers, "webhook-timestamp": "1700000001" },
              { secret: one, body },
            )),
          );
          assert(!(await verifies(headers, { secret: `${one.slice(0, 10)}${base64(30)}`, body })));
          body[0] = (body[0] ?? 0) ^ 1;
          assert(!(await verifies(headers, { secret: one, body })));
        },
      ),
    );
  });

  for (const id of ["", "a.b", "a b", "a\r\nb", "ä"]) {
    it(`asserts that an id can be a header: ${JSON.stringify(id)}`, () => {
      assert.throws(() => sign("k".repeat(24), new Uint8Array(), id), { name: "AssertionError" });
    });
  }
});

describe("secretFault()", () => {
  const secrets: readonly (readonly [secret: string, fault: RegExp | undefined])[] = [
    [`whsec_${base64(24)}`, undefined],
    [`whsec_${base64(25)}`, undefined],
    [`whsec_${base64(26)}`, undefined],
    [`whsec_${base64(64)}`, undefined],
    ["k".repeat(24), undefined],
    ["k".repeat(64), undefined],
    ["ä".repeat(12), undefined], // 24 bytes
    [`whsec_${base64(23)}`, /24 to 64 bytes/],
    [`whsec_${base64(65)}`, /24 to 64 bytes/],
    ["whsec_", /24 to 64 bytes/],
    ["", /24 to 64 bytes/],
    ["k".repeat(23), /24 to 64 bytes/],
    ["k".repeat(65), /24 to 64 bytes/],
    [`whsec_${base64(25).replaceAll("=", "")}`, /base64/],
    [`whsec_${base64(24)} `, /base64/],
    [`whsec_-_${base64(24).slice(2)}`, /base64/],
    [`whsec_${base64(24)}=`, /base64/],
  ];
  for (const [secret, fault] of secrets) {
    it(`${fault ? "refuses" : "takes"} "${secret.slice(0, 48)}" (${secret.length})`, () => {
      if (fault) assert.match(secretFault(secret) ?? "none", fault);
      else assert.equal(secretFault(secret), undefined);
    });
  }
});
