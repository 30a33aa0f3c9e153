/**
 * One record of every kind, each field with a value of its own, so that two
 * fields swapped or one left out shows.
 *
 * @module
 */

import type { Message } from "../../storage/base/message.ts";
import type { KindName, RecordOf } from "../../storage/records/mod.ts";

const bytes = (size: number, from = 1) => Uint8Array.from({ length: size }, (_, i) => from + i);

/** A message with everything a message can have. */
export const fullMessage: Message = {
  topicGen: 0x0102_0304_0506,
  queueId: 7,
  queueOffset: 0x1122_3344,
  keyHash: 0xaabb_ccdd,
  tagHash: 0x0bad_cafe,
  bornAt: 1_700_000_000_001,
  deliverAt: 1_700_000_060_000,
  txnId: "txn-1",
  dedupe: { keyHash: bytes(16, 0x10), fingerprint: bytes(8, 0x80) },
  producer: { id: "producer-1", epoch: 3, seq: 77 },
  origin: { brokerGroup: 2, outSeq: 9 },
  id: "V1StGXR8_Z5jdHi6B",
  key: "order-17",
  tag: "créé",
  index: ["cust-9", "region-eu"],
  properties: [
    ["region", "eu"],
    ["empty", ""],
  ],
  contentType: "application/json",
  traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  tracestate: "a=1",
  body: bytes(5, 0xf0),
};

export const samples: { readonly [K in KindName]: RecordOf<K> } = {
  message: fullMessage,
  reveal: {
    cause: "commit",
    txnId: "txn-1",
    items: [
      {
        bodyLogOffset: 1000,
        size: 200,
        topicGen: 1,
        queueId: 2,
        queueOffset: 3,
        keyHash: 4,
        tagHash: 5,
      },
      {
        bodyLogOffset: 2 ** 40,
        size: 201,
        topicGen: 6,
        queueId: 7,
        queueOffset: 8,
        keyHash: 9,
        tagHash: 10,
      },
    ],
  },
  grant: {
    groupGen: 1,
    topicGen: 2,
    queueId: 3,
    ranges: [
      { first: 10, count: 5 },
      { first: 20, count: 1 },
    ],
    grantSeq: 4,
    attempt: 5,
    until: 1_700_000_030_000,
    nonce: bytes(8),
    attemptId: "attempt-1",
    consumerId: undefined,
  },
  settle: {
    groupGen: 1,
    topicGen: 2,
    queueId: 3,
    acked: [{ first: 10, count: 4 }],
    timed: [
      { op: "release", queueOffset: 14, at: 100 },
      { op: "extend", queueOffset: 15, at: 200 },
      { op: "undo", queueOffset: 16, at: 300 },
    ],
  },
  skip: { groupGen: 1, topicGen: 2, queueId: 3, to: 4 },
  dead: {
    groupGen: 1,
    topicGen: 2,
    queueId: 3,
    items: [
      { queueOffset: 4, attempts: 16, cause: "attempts", reason: "" },
      { queueOffset: 5, attempts: 2, cause: "rejected", reason: "bad ☹" },
    ],
  },
  redrive: { groupGen: 1, topicGen: 2, queueId: 3, action: "drop", offsets: [4, 5] },
  seek: { groupGen: 1, topicGen: 2, queueId: 3, to: 4 },
  prepare: {
    txnId: "txn-1",
    producerGroup: "pay",
    checkUrl: "https://example.com/check",
    firstCheckMs: 6000,
    checkIntervalMs: 30_000,
    maxChecks: 15,
    bodies: [100, 2 ** 33],
  },
  decide: { txnId: "txn-1", decision: "rollback", by: "operator" },
  check: { txnId: "txn-1", checkNumber: 3, outcome: "parked", nextCheckAt: 0 },
  recall: { topicGen: 1, bodyLogOffset: 2 },
  define: {
    entity: "group",
    generation: 1,
    version: 2,
    createdAt: 1_700_000_000_000,
    name: "billing",
    config: bytes(3, 0x7b),
  },
  drop: { entity: "producerGroup", generation: 1, name: "pay" },
  head: { topicGen: 1, queueId: 2, firstOffset: 3, cause: "purge" },
  carry: {
    oldBodyLogOffset: 1,
    topicGen: 2,
    queueId: 3,
    queueOffset: -1,
    visibleAt: 0,
    message: bytes(4, 0xa0),
  },
  state: { key: bytes(3), value: bytes(5, 0x20) },
  "span-open": { topicGen: 1, queueId: 2, firstOffset: 3, fromGroup: 4, blockedKeys: [5, 6] },
  "span-close": { topicGen: 1, queueId: 2, endOffset: 3, toGroup: 4 },
  sent: { target: 1, outSeq: 2 },
  "epoch-start": { epoch: 1, leader: "node-1", bootId: bytes(16) },
};
