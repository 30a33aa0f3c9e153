/**
 * What an idempotency key is remembered as: in records for good, so to the byte.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { dedupeOf } from "../../src/broker/idempotency.ts";
import { digest } from "../../storage/base/digest_node.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const body = new TextEncoder().encode("body");
const full = {
  id: "m-1",
  key: "order-17",
  tag: "créé",
  index: ["a", "b"],
  properties: [
    ["region", "eu"],
    ["amount", "5"],
  ],
  contentType: "text/plain",
  idempotencyKey: "k#1",
  body,
} as const;

describe("dedupeOf()", () => {
  const golden: [what: string, message: Parameters<typeof dedupeOf>[1]["message"], string[]][] = [
    ["everything", full, ["d0e39e45dea9d3ec7d6e697c54f92b4e", "a21810f6877771c5"]],
    [
      "nothing but a key",
      { id: "made", idGenerated: true, idempotencyKey: "k#1", body },
      ["5b4f2e6517a3e7d9d5f2b41edbcf465f", "0be038987b42c932"],
    ],
  ];
  for (const [what, message, expected] of golden) {
    it(`keeps its bytes for ${what}`, () => {
      const dedupe = dedupeOf(digest, { topicGen: 2 ** 50, message });
      assert(dedupe);
      assert.deepEqual([hex(dedupe.keyHash), hex(dedupe.fingerprint)], expected);
    });
  }

  it("is nothing for a message without a key", () => {
    assert.equal(dedupeOf(digest, { topicGen: 1, message: { id: "m", body } }), undefined);
  });

  it("takes no two scopes, nor two requests, for one", () => {
    const scopes = [
      { key: "a", idempotencyKey: "b" },
      { key: undefined, idempotencyKey: "ab" },
      { key: "ab", idempotencyKey: "" },
      { key: 'a","b', idempotencyKey: "" },
      { key: "null", idempotencyKey: "x" },
      { key: undefined, idempotencyKey: "x" },
    ];
    const hashes = scopes.map((scope) =>
      hex(dedupeOf(digest, { topicGen: 1, message: { id: "m", body, ...scope } })?.keyHash ?? body),
    );
    assert.equal(new Set(hashes).size, scopes.length);
    const requests = [
      { tag: "a", body },
      { contentType: "a", body },
      { index: ["a", "b"], body },
      { index: ["a,b"], body },
      { index: ["a"], properties: [["b", ""] as const], body },
      { body: new TextEncoder().encode("body]") },
      { idGenerated: true, body },
    ];
    const prints = requests.map((request) => {
      const message = { id: "m", idempotencyKey: "k", ...request };
      return hex(dedupeOf(digest, { topicGen: 1, message })?.fingerprint ?? body);
    });
    assert.equal(new Set(prints).size, requests.length);
  });
});
