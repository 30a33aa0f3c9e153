/**
 * What waits for a reader of several topics while it takes nothing.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Followed } from "../../src/gateway/feed_reader.ts";
import { BACKLOG_BYTES, Subscriber } from "../../src/gateway/feed_subscriber.ts";
import { encodeControl, type EventChunk } from "../../src/gateway/sse.ts";
import { type LineEntry, TopicsLine } from "../../src/gateway/topics_line.ts";
import { TopicsStream } from "../../src/gateway/topics_stream.ts";
import { turn } from "../fakes/stream_reader.ts";

const text = new TextDecoder();

describe("TopicsLine", () => {
  it("holds what does not fit, in order, and lets it out when it does", async () => {
    const { subscriber, reader, line } = start();
    subscriber.send([bytes(BACKLOG_BYTES - 50)], "full");
    const order: string[] = [];
    line.push(entry("one", { order, size: 100 }));
    const room = line.room(10).then((open) => order.push(`room ${open}`));
    line.push(entry("two", { order, size: 100 }));
    await turn();
    assert.deepEqual([order, line.empty], [[], false]);
    assert.equal(line.backlogBytes, BACKLOG_BYTES - 50 + 200);
    await reader.read();
    await room;
    await turn();
    assert.deepEqual(order, ["one", "room true", "two"]);
    assert.equal(line.empty, true);
  });

  it("takes an entry a step at a time, and holds the rest of it", async () => {
    const { reader, line } = start();
    let heldBytes = 3 * BACKLOG_BYTES;
    const taken = () => {
      heldBytes -= BACKLOG_BYTES;
      return heldBytes === 0;
    };
    const step = () => ({ chunks: [bytes(BACKLOG_BYTES)], taken });
    line.push({
      get heldBytes() {
        return heldBytes;
      },
      step,
    });
    for (const left of [3, 2, 1]) {
      await turn();
      assert.equal(line.backlogBytes, left * BACKLOG_BYTES);
      await reader.read();
    }
    await turn();
    assert.deepEqual([line.backlogBytes, line.empty], [0, true]);
  });

  it("drops everything at the end, and gives nobody room", async () => {
    const { subscriber, line } = start();
    subscriber.send([bytes(BACKLOG_BYTES)], "full");
    const order: string[] = [];
    line.push(entry("one", { order, size: 100 }));
    const room = line.room(10);
    subscriber.end("draining");
    assert.equal(await room, false);
    assert.equal(await line.room(10), false);
    line.push(entry("two", { order, size: 100 }));
    await turn();
    assert.deepEqual([order, line.empty], [[], true]);
  });
});

describe("TopicPart", () => {
  it("may use the room it was granted, be it taken by now or not", async () => {
    const { subscriber, stream } = startStream(["a", "b"]);
    const [a, b] = stream.parts;
    assert(a && b);
    const size = BACKLOG_BYTES * 0.6;
    assert.equal(await a.room(size), true);
    b.messages(chunk(size));
    a.messages(chunk(size));
    assert.equal(subscriber.open, true);
    a.messages(chunk(size)); // for this one nobody asked
    assert.equal(subscriber.open, false);
  });
});

describe("TopicsStream", () => {
  it("tells no position while something before it waits", async () => {
    const topic = "t".repeat(127); // ids larger than what they are of: the line backs up
    const { subscriber, reader, stream } = startStream([topic, "b"]);
    await reader.read();
    const [part, other] = stream.parts;
    assert(part && other);
    part.follow(new Standing("ahead"));
    part.messages(chunk(240_000));
    other.control({ cursor: "moved", upToDate: true });
    part.messages(chunk(20_000, 100));
    await turn();
    assert.equal(stream.line.empty, false);
    subscriber.beat();
    let seen = "";
    while (!stream.line.empty || subscriber.waitingBytes > 0) {
      seen += text.decode((await reader.read()).value);
      await turn();
    }
    assert.equal(seen.match(/ahead/), null);
    const moved = seen.match(/id: t+=c0,b=moved\nevent: control\n/g);
    assert.equal(moved?.length, 1, "the heartbeat told what was so");
    assert.equal(seen.match(/id: /g)?.length, 1 + 1 + 100);
    subscriber.beat();
    const last = text.decode((await reader.read()).value);
    assert.match(last, /^id: t+=ahead,b=moved\nevent: control\n/);
  });
});

class Standing implements Followed {
  readonly upToDate = true;
  readonly cursor: string;

  constructor(cursor: string) {
    this.cursor = cursor;
  }

  control() {
    return encodeControl(this);
  }

  leave(): void {}
}

function start() {
  const { subscriber, reader } = newSubscriber();
  const line = new TopicsLine(subscriber, () => "");
  subscriber.follow({
    cursor: "",
    upToDate: true,
    control: () => bytes(0),
    leave: () => line.clear(),
  });
  line.start();
  return { subscriber, reader, line };
}

function startStream(topics: readonly string[]) {
  const { subscriber, reader } = newSubscriber();
  const stream = new TopicsStream(subscriber, topics);
  stream.begin(2000);
  return { subscriber, reader, stream };
}

function newSubscriber() {
  const owner = { retryMs: () => 2000, ended() {} };
  const subscriber = new Subscriber(owner, new AbortController().signal);
  return { subscriber, reader: subscriber.stream.getReader() };
}

function entry(name: string, about: { order: string[]; size: number }): LineEntry {
  const taken = () => {
    about.order.push(name);
    return true;
  };
  return { heldBytes: about.size, step: () => ({ chunks: [bytes(about.size)], taken }) };
}

function bytes(size: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(size).fill(0x2e);
}

/** So many bytes in events of one length, whose content nobody looks at. */
function chunk(size: number, count = 1): EventChunk {
  const length = Math.floor(size / count);
  const ends = Array.from({ length: count }, (_, i) => (i + 1) * length);
  const cursors = Array.from({ length: count }, (_, i) => `c${i}`);
  const all = { bytes: bytes(length * count), ends, messages: [], cursors, gaps: new Map() };
  return { ...all, last: cursors.at(-1) ?? "" };
}
