/**
 * Two members of a group whose log has lost its beginning: messages with idempotency
 * keys were there, and only their keys are left.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { message, TOPIC, turn } from "./broker_api_kit.ts";
import { ReplicatedPair } from "./replicated_pair.ts";

const SECOND_MS = 1000;
const KEYS = 12;
const SEGMENT_BYTES = 1024;

export interface ShortenedPair {
  readonly pair: ReplicatedPair;
  /** The follower's disk as it was when the log still had its beginning. */
  readonly before: MemoryDisk;
  /** Publishes all keys again, at whoever leads: each must be answered as the first time. */
  republish(pair: ReplicatedPair): Promise<void>;
}

export async function shortenedPair(): Promise<ShortenedPair> {
  const pair = await ReplicatedPair.open({ segmentBytes: SEGMENT_BYTES });
  const { clock } = pair;
  const retention = { timeMs: 30 * SECOND_MS, bytes: null };
  await pair.broker.api.topics.put("keyed", { ...TOPIC, retention });
  const publish = (key: string) => {
    const wish = message(key, { idempotencyKey: key, body: new Uint8Array(100) });
    return pair.broker.api.messages.publish("keyed", wish);
  };
  const answers = new Map<string, unknown>();
  for (let i = 0; i < KEYS; i++) {
    const answer = await publish(`k${i}`);
    answers.set(`k${i}`, { ...answer, replayed: undefined });
  }
  await pair.settle();
  const before = pair.follower.disk.clone();
  for (let tries = 0; pair.leader.start <= endOf(before); tries++) {
    assert(tries < 100, "the log loses its beginning");
    await pair.broker.api.messages.publish("keyed", message(`m${tries}`));
    clock.advance(60 * SECOND_MS);
    for (let turns = 0; turns < 20; turns++) await turn();
  }
  await pair.settle();
  return {
    pair,
    before,
    async republish(by) {
      for (const [key, first] of answers) {
        const wish = message(key, { idempotencyKey: key, body: new Uint8Array(100) });
        const answer = await by.broker.api.messages.publish("keyed", wish);
        assert.deepEqual({ ...answer, replayed: undefined }, first, `the first answer of ${key}`);
      }
    },
  };
}

/** At least so far its log goes. */
function endOf(disk: MemoryDisk): number {
  const names = disk.names("log").filter((name) => name.endsWith(".log"));
  return Number(names.at(-1)?.slice(0, 20)) + SEGMENT_BYTES;
}
