/**
 * Publishing once, where the suite over `BrokerApi` cannot look: what happens
 * between a look at the runs and the append, and which requests read at all.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import type { NewMessage } from "../../src/broker/api.ts";
import { ids, isAnswered, message, names, readAll, turn } from "../suites/broker_api_kit.ts";
import { openTestBroker } from "../suites/open_broker.ts";

const WINDOW_MS = 10_000;

let made = 0;
function keyed(idempotencyKey: string): NewMessage {
  const body = new TextEncoder().encode(idempotencyKey);
  return { id: `made-${made++}`, idGenerated: true, idempotencyKey, body };
}

/** A disk whose next reads of a dedupe run can be held up. */
class HeldDisk extends MemoryDisk {
  reads = 0;
  #hold: Promise<void> | undefined;

  /** Holds the next read of a run until the returned function is called. */
  holdOne(): () => void {
    let release = () => {};
    this.#hold = new Promise((resolve) => {
      release = resolve;
    });
    return release;
  }

  override async open(path: string, options: { create: boolean }) {
    const file = await super.open(path, options);
    if (!path.endsWith(".run")) return file;
    const read = file.read.bind(file);
    file.read = async (target, position) => {
      this.reads++;
      const hold = this.#hold;
      this.#hold = undefined;
      await hold;
      return read(target, position);
    };
    return file;
  }
}

async function prepared() {
  const disk = new HeldDisk();
  const options = { disk, segmentBytes: 1024, idempotencyWindowMs: WINDOW_MS };
  const broker = await openTestBroker(options);
  const { api, clock } = broker;
  const publish = (one: NewMessage) => api.messages.publish("orders", one);
  return { api, clock, disk, publish, close: broker.close };
}

/** Until nothing goes on behind the answers: no segment is sealed, no run merged. */
async function quiet(disk: HeldDisk): Promise<void> {
  for (let still = 0, before = -1; still < 20; still = disk.reads === before ? still + 1 : 0) {
    before = disk.reads;
    await turn();
  }
}

describe("publishing with a key", () => {
  it("looks again when what was appended meanwhile has moved to a run", async () => {
    const { api, clock, disk, publish, close } = await prepared();
    await publish(keyed("k"));
    clock.advance(WINDOW_MS / 2);
    for (const name of names("other", 30)) await publish(keyed(name));
    await quiet(disk);
    clock.advance(WINDOW_MS / 2); // the run holds "k", out of the window

    const release = disk.holdOne();
    const slow = publish(keyed("k"));
    const fast = await publish(keyed("k"));
    assert.equal(fast.replayed, undefined);
    for (const name of names("more", 30)) await publish(message(name));
    await quiet(disk); // its segment is sealed, and its run in use
    assert.equal(await isAnswered(slow), false);
    release();
    assert.deepEqual(await slow, { ...fast, replayed: true });
    const stored = ids(await readAll(api));
    assert.equal(stored.filter((id) => id === fast.id).length, 1);
    assert.equal(stored.length, 62);
    await close();
  });

  it("looks again when the topic went meanwhile", async () => {
    const { api, clock, disk, publish, close } = await prepared();
    await publish(keyed("k"));
    for (const name of names("other", 30)) await publish(keyed(name));
    await quiet(disk);
    const release = disk.holdOne();
    const slow = publish(keyed("k"));
    await turn();
    await api.topics.delete("orders");
    clock.advance(1);
    release();
    assert.equal((await slow).replayed, undefined);
    assert.equal((await readAll(api)).length, 1);
    await close();
  });

  it("reads no run for a key that nobody used, nor for messages without one", async () => {
    const { disk, publish, close } = await prepared();
    for (const name of names("k", 100)) await publish(keyed(name));
    for (const name of names("before", 20)) await publish(message(name));
    await quiet(disk);
    disk.reads = 0;
    for (const name of names("plain", 100)) await publish(message(name));
    assert.equal(disk.reads, 0);
    await publish(keyed("k3"));
    assert(disk.reads > 0, "a repeat reads");
    await close();
  });

  it("is told that the first is under way until that is answered", async () => {
    const { publish, close } = await prepared();
    await publish(keyed("warm"));
    const first = publish(keyed("k"));
    await assert.rejects(publish(keyed("k")), { code: "idempotency-in-progress" });
    assert.equal((await publish(keyed("k")).catch(() => first)).id, (await first).id);
    assert.deepEqual(await publish(keyed("k")), { ...(await first), replayed: true });
    await close();
  });
});
