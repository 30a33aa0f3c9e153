/**
 * What is sent for a check, and what is read in an answer.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { hmac } from "../../storage/base/hmac_node.ts";
import { checkMessage, readAnswer } from "../../src/webhook/message.ts";

const utf8 = new TextEncoder();

describe("checkMessage()", () => {
  const check = {
    url: "https://hook.example/check",
    secret: undefined,
    transactionId: "tx1",
    producerGroup: "pay",
    checkNumber: 3,
    messages: [
      { id: "m1", topic: "orders", key: "Zoë" },
      { id: "m2", topic: "bills" },
    ],
  };

  it("tells the transaction, its messages and which check it is, and no secret", () => {
    const { headers, body } = checkMessage(
      { ...check, secret: "do not tell" },
      { now: 1_700_000_000_123, key: utf8.encode("do not tell"), hmac },
    );
    const text = new TextDecoder().decode(body);
    assert.equal(
      text,
      '{"type":"transaction.check","timestamp":"2023-11-14T22:13:20.123Z","data":{' +
        '"transactionId":"tx1","producerGroup":"pay","checkNumber":3,' +
        '"messages":[{"id":"m1","topic":"orders","key":"Zoë"},{"id":"m2","topic":"bills"}]}}',
    );
    assert.equal(headers["webhook-id"], "tx1-3");
    assert.equal(headers["content-length"], String(body.length));
    assert.match(headers["webhook-signature"] ?? "", /^v1,/);
  });

  it("is an event of its own at each check", () => {
    const ids = [1, 2].map((checkNumber) => {
      const options = { now: 0, key: undefined, hmac };
      return checkMessage({ ...check, checkNumber }, options).headers["webhook-id"];
    });
    assert.deepEqual(ids, ["tx1-1", "tx1-2"]);
  });
});

describe("readAnswer()", () => {
  const read = (status: number, text: string) => readAnswer({ status, body: utf8.encode(text) });

  for (const decision of ["commit", "rollback", "unknown"]) {
    for (const status of [200, 201, 202, 299]) {
      it(`takes ${decision} from a ${status}`, () => {
        const text = ` {"decision": "${decision}", "because": "paid"}\n`;
        assert.deepEqual(read(status, text), { kind: "decision", decision });
      });
    }
  }

  const commit = '{"decision":"commit"}';
  const none: readonly (readonly [status: number, text: string, reason: RegExp])[] = [
    [199, commit, /^answered 199$/],
    [300, commit, /^answered 300, and redirects are not followed$/],
    [302, commit, /redirects are not followed/],
    [307, commit, /redirects are not followed/],
    [400, commit, /^answered 400$/],
    [410, commit, /^answered 410$/],
    [500, commit, /^answered 500$/],
    [200, "", /without a decision/],
    [204, "", /without a decision/],
    [200, "commit", /without a decision/],
    [200, '"commit"', /without a decision/],
    [200, "null", /without a decision/],
    [200, '["commit"]', /without a decision/],
    [200, '{"decision":"COMMIT"}', /without a decision/],
    [200, '{"decision":"prepared"}', /without a decision/],
    [200, '{"decision":["commit"]}', /without a decision/],
    [200, '{"decision":true}', /without a decision/],
    [200, '{"Decision":"commit"}', /without a decision/],
    [200, '{"__proto__":{"decision":"commit"}}', /without a decision/],
    [200, `${commit}${commit}`, /without a decision/],
    [200, `<html>${commit}</html>`, /without a decision/],
    [200, "[".repeat(65_536), /without a decision/],
  ];
  for (const [status, text, reason] of none) {
    it(`finds no decision in a ${status} with ${text.slice(0, 40)}`, () => {
      const answer = read(status, text);
      assert(answer.kind === "failed");
      assert.match(answer.reason, reason);
    });
  }

  it("never throws, and repeats nothing of the answer", () => {
    fc.assert(
      fc.property(fc.integer({ min: 100, max: 999 }), fc.uint8Array(), (status, body) => {
        const answer = readAnswer({ status, body });
        assert(answer.kind === "failed");
        assert.match(
          answer.reason,
          /^answered \d{3}( without a decision: commit, rollback or unknown|, and redirects are not followed)?$/,
        );
      }),
    );
  });
});
