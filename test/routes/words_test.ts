/**
 * The small readers: times, ids, preferences, media ranges, body kinds.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { pageForm } from "../../routes/accept.ts";
import { bodyKind } from "../../routes/body_kind.ts";
import { MESSAGE_ID, newMessageId } from "../../routes/message_id.ts";
import { preferences } from "../../routes/prefer.ts";
import { formatTimestamp, parseTimestamp } from "../../routes/timestamp.ts";

describe("parseTimestamp()", () => {
  const cases: [text: string, ms: number | undefined][] = [
    ["2026-11-22T08:00:00Z", Date.UTC(2026, 10, 22, 8)],
    ["2026-11-22t08:00:00.5z", Date.UTC(2026, 10, 22, 8, 0, 0, 500)],
    ["2026-11-22T08:00:00.123456789Z", Date.UTC(2026, 10, 22, 8, 0, 0, 123)],
    ["2026-11-22T08:00:00-05:30", Date.UTC(2026, 10, 22, 13, 30)],
    ["2024-02-29T00:00:00Z", Date.UTC(2024, 1, 29)],
    ["1970-01-01T00:00:00Z", 0],
    ["1969-12-31T23:59:59Z", undefined],
    ["2026-02-29T00:00:00Z", undefined],
    ["2026-04-31T00:00:00Z", undefined],
    ["2026-13-01T00:00:00Z", undefined],
    ["2026-11-22T24:00:00Z", undefined],
    ["2026-11-22T08:00:60Z", undefined],
    ["2026-11-22T08:00:00", undefined],
    ["2026-11-22 08:00:00Z", undefined],
    ["2026-11-22", undefined],
    ["1700000000000", undefined],
    ["", undefined],
  ];
  for (const [text, ms] of cases) {
    it(`reads "${text}" as ${ms}`, () => assert.equal(parseTimestamp(text), ms));
  }

  it("reads every one of a few times told in turn", () => {
    const times = [1_700_000_000_000, 1_700_000_030_000, 1_700_000_000_001];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...times)), (told) => {
        for (const ms of told) assert.equal(formatTimestamp(ms), new Date(ms).toISOString());
      }),
    );
  });

  it("undoes formatTimestamp()", () => {
    fc.assert(
      fc.property(fc.nat({ max: 4e12 }), (ms) => {
        assert.equal(parseTimestamp(formatTimestamp(ms)), ms);
        assert.match(formatTimestamp(ms), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
      }),
    );
  });
});

describe("newMessageId()", () => {
  it("sorts by time until 2081, is a valid id, and never comes twice", () => {
    const last = Date.UTC(2081, 0);
    fc.assert(
      fc.property(fc.nat({ max: last }), fc.nat({ max: last }), (a, b) => {
        const [first, second] = [newMessageId(a), newMessageId(b)];
        assert.match(first, MESSAGE_ID);
        assert.equal(first.length, 21);
        assert.notEqual(first, second);
        if (a !== b) assert.equal(first < second, a < b);
      }),
    );
  });
});

describe("preferences()", () => {
  const cases: [prefer: string, minimal: boolean, wait: number | undefined][] = [
    ["return=minimal", true, undefined],
    ["Return=minimal; x=y", true, undefined],
    ['return="minimal"', true, undefined],
    ["return=representation", false, undefined],
    ["wait=20", false, 20],
    ["respond-async, wait=1.5, return=minimal", true, 1.5],
    ["wait=-1", false, undefined],
    ["wait", false, undefined],
    [",,=;", false, undefined],
  ];
  for (const [prefer, returnMinimal, waitSeconds] of cases) {
    it(`reads "${prefer}"`, () => {
      assert.deepEqual(preferences(prefer), { returnMinimal, waitSeconds });
    });
  }
});

describe("pageForm()", () => {
  const cases: [accept: string | undefined, form: string][] = [
    [undefined, "json"],
    ["", "json"],
    ["*/*", "json"],
    ["application/json", "json"],
    ["text/event-stream", "sse"],
    ["Text/Event-Stream; charset=utf-8", "sse"],
    ["application/x-ndjson, */*;q=0.1", "ndjson"],
    ["application/json;q=0.5, application/x-ndjson;q=0.9", "ndjson"],
    ["text/event-stream;q=0, application/json;q=0.1", "json"],
    ["application/json, text/event-stream", "json"],
    ["text/html", "json"],
  ];
  for (const [accept, form] of cases) {
    it(`reads "${accept}" as ${form}`, () => assert.equal(pageForm(accept), form));
  }
});

describe("bodyKind()", () => {
  it("remembers a bounded number of types, and stays right", () => {
    for (let i = 0; i < 1000; i++) {
      assert.equal(bodyKind(`application/x-${i}`), "binary");
      assert.equal(bodyKind(`application/x-${i}+json`), "json");
    }
    assert.equal(bodyKind("text/x"), "text");
  });
});
