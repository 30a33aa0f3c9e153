/**
 * What the tests of filters share: judging a message in all the ways there
 * are, and finding out which of the three truths a condition has.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  compileFilter,
  type CompiledFilter,
  type Filter,
  type Filterable,
  nominates,
} from "../../src/filter/mod.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { stableHash } from "../../storage/base/hash.ts";
import { encodeMessage, messageSizeMax } from "../../storage/base/message.ts";

export function encoded(message: Filterable): Uint8Array {
  const attributes = { id: "m", contentType: "text/plain", ...message };
  const body = new Uint8Array([1, 2, 3]);
  const target = new Uint8Array(messageSizeMax(attributes, body.length));
  const envelope = { topicGen: 1, queueId: 0, queueOffset: 0, keyHash: 0, tagHash: 0, bornAt: 1 };
  return target.subarray(0, encodeMessage(target, 0, { envelope, attributes, body }));
}

/** Whether the filter wants the message; all ways to ask must agree. */
export function wants(filter: CompiledFilter, message: Filterable): boolean {
  const wanted = filter.matches(message);
  assert.equal(filter.matchesPayload(encoded(message)), wanted, "encoded, it is the same");
  const tagHash = message.tag === undefined ? 0 : stableHash(message.tag);
  assert(!wanted || nominates(filter, tagHash), "what is wanted is nominated");
  assert(!filter.all || wanted, "all are wanted");
  return wanted;
}

export type TruthName = "true" | "false" | "unknown";

/** By asking for the negation too. */
export function truthOf(sql: string, message: Filterable): TruthName {
  const holds = wants(compileFilter({ sql }), message);
  const denied = wants(compileFilter({ sql: `NOT (${sql}\n)` }), message);
  assert(!(holds && denied), `both ${sql} and its negation are true`);
  if (holds) return "true";
  return denied ? "false" : "unknown";
}

/** What is wrong with a filter, and where. */
export function faultOf(filter: Filter): { position: number; message: string } {
  try {
    compileFilter(filter);
  } catch (error) {
    assert(error instanceof TidegateError, String(error));
    assert.equal(error.code, "filter-invalid");
    const { position } = error.details;
    assert(typeof position === "number");
    return { position, message: error.message };
  }
  return assert.fail(`is a filter: ${JSON.stringify(filter)}`);
}
